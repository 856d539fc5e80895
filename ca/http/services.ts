import type { AcknowledgeRequest } from "../contract/acknowledgements.ts";
import type { AuthorityAnswer, AuthorityCommand, AuthoritySummary } from "../contract/authorities.ts";
import type { IssuedCertificate, IssueRequest } from "../contract/certificates.ts";
import type { EdgeGroups, EdgeList } from "../contract/edges.ts";
import type { IssuedIssuer, IssueIssuerRequest } from "../contract/issuers.ts";
import type { IssuedJwtSvid, IssueJwtSvidRequest } from "../contract/jwt-svids.ts";
import type { ProxyList } from "../contract/proxies.ts";
import type { Report, ReportRequest } from "../contract/reports.ts";
import type { Revocation, RevocationReason } from "../contract/revocations.ts";
import type { CallerRole } from "../contract/roles.ts";
import type { TapEvent, TapRequest } from "../contract/taps.ts";
import type { CreatedToken, CreateTokenRequest } from "../contract/tokens.ts";
import type { Readiness, Vitals } from "../contract/vitals.ts";
import type { WatchEventName } from "../contract/watch.ts";
import type { ClockConfirmer } from "../confirm-clock.ts";
import type { Federation } from "../federation/federation.ts";
import type { RateLimits } from "../rate-limits.ts";
import type { Operators } from "../operators.ts";
import type { Policies } from "../policy/policies.ts";
import type { RequestAuthorization, SignedRequest } from "../pki/request-authorization.ts";
import type { EdgePageQuery, EdgeQuery } from "../reports/edges.ts";
import type { ProxyQuery } from "../reports/proxies.ts";
import type { WorkloadPage, WorkloadQuery } from "../reports/workloads.ts";
import type { Store } from "../store/store.ts";

/** An authenticated API caller. */
export interface Caller {
  /** Who signed the request with its SVID; absent for an API token. */
  readonly spiffeId?: string;
  /** Whose key it signed with. */
  readonly certificate?: { readonly serialNumber: string; readonly notAfterMs: number };
  /** Who it is in the audit log and to the rate limits: `token:<id>`, or a SPIFFE ID. */
  readonly actor: string;
  readonly name: string;
  readonly role: CallerRole;
  /** SPIFFE ID patterns it may issue for; empty for none, `spiffe://<trust domain>/*` for all. */
  readonly scope: readonly string[];
  /** DNS names it may give, or `*.` and what they end in; absent for none. An admin may give any. */
  readonly dnsScope?: readonly string[];
  /** Trust domains of other CAs it may have issuers signed for; an admin may for any. */
  readonly issuerScope?: readonly string[];
  /** Those of them whose issuers are for the CA of a cluster: they may give any DNS name, or those of `dnsScope`, and any address. */
  readonly clusterScope?: readonly string[];
  /** Those of them whose issuers have no URI constraint. */
  readonly unconstrainedScope?: readonly string[];
}

/** What the HTTP layer needs of the CA; every method throws `Refusal` for what it declines. */
export interface CaServices {
  readonly trustDomain: string;
  readonly store: Store;
  readonly now: () => Date;
  readonly limits: RateLimits;
  /** Undefined for an unknown, deleted or expired token; the secret is compared in constant time. */
  authenticate(bearerToken: string): Promise<Caller | undefined>;
  /** The caller that an API token is which was authenticated before; undefined once it is deleted or expired. @param actor `token:<id>` */
  tokenCaller(actor: string): Promise<Caller | undefined>;
  /**
   * The caller whose SVID signed the request.
   * @throws {Refusal} proof_refused | certificate_expired | certificate_revoked
   */
  authenticateSigned(authorization: RequestAuthorization, request: SignedRequest): Promise<Caller>;
  /** The CA of another trust domain that signed the request, for the feed alone: its SPIFFE ID. @throws {Refusal} proof_refused */
  authenticatePeer(authorization: RequestAuthorization, request: SignedRequest): Promise<string>;
  /** Takes a signed request that may act for the one time it is good, at all replicas. @throws {Refusal} proof_refused | rate_limited */
  spendSigned(authorization: RequestAuthorization, spiffeId: string): Promise<void>;
  issue(
    request: IssueRequest,
    context: { readonly caller?: Caller; readonly idempotencyKey?: string },
  ): Promise<IssuedCertificate>;
  issueIssuer(request: IssueIssuerRequest, caller: Caller, idempotencyKey?: string): Promise<IssuedIssuer>;
  issueJwtSvid(request: IssueJwtSvidRequest, caller: Caller): Promise<IssuedJwtSvid>;
  revoke(serialNumber: string, reason: RevocationReason, caller: Caller): Promise<Revocation>;
  createToken(request: CreateTokenRequest, caller: Caller): Promise<CreatedToken>;
  deleteToken(id: string, caller: Caller): Promise<void>;
  readonly operators: Operators;
  readonly policies: Policies;
  readonly federation: Omit<Federation, "tick" | "start" | "close">;
  /** Names the feed; new after a restore. */
  readonly feedEpoch: string;
  /** Server-sent events behind `lastEventId`, and from then on all that come; who proved an identity has a place before strangers. */
  watch(lastEventId: string | undefined, follower: { readonly proven: boolean; readonly name: string }, names?: readonly Exclude<WatchEventName, "epoch">[]): Promise<ReadableStream<Uint8Array>>;
  /** Durable when it resolves. */
  acknowledge(request: AcknowledgeRequest): Promise<void>;
  /** Takes down what a proxy reports of its own workload; every replica knows it when it resolves. @param report what the request's text says */
  report(request: ReportRequest, report: Report): Promise<void>;
  /** Who talks to whom; some seconds old. */
  edges(query: EdgePageQuery): Promise<Omit<EdgeList, "nextCursor">>;
  /** The same for a picture. @param query `most`: groups there may be */
  edgeGroups(query: EdgeQuery & { readonly most: number }): Promise<EdgeGroups>;
  /** The proxies that reported lately. */
  proxies(query: ProxyQuery): Promise<Omit<ProxyList, "nextCursor">>;
  /** Who holds a live certificate; some seconds old. */
  workloads(query: WorkloadQuery): Promise<WorkloadPage>;
  /** How this replica and its store are. */
  vitals(): Promise<Vitals>;
  /** Opens a tap. @throws {Refusal} spiffe_id_refused | rate_limited */
  tap(request: TapRequest, caller: Caller): Promise<ReadableStream<TapEvent>>;
  /** Writes a denial to the audit log, at a bounded rate; never fails. */
  recordDenial(denial: {
    readonly code: string;
    readonly method: string;
    readonly path: string;
    readonly actor: string;
  }): void;
  authorities(): Promise<readonly AuthoritySummary[]>;
  /** The newest CRL of one list of an authority; undefined when there is no such list. */
  crl(authorityId: string, list: string): Promise<ServedCrl | undefined>;
  /** An OCSP response to whatever was sent, as long as the address has not had its share; one without times is for this request only. */
  ocsp(request: Uint8Array, address: string): Promise<{ readonly der: Uint8Array; readonly thisUpdateMs?: number; readonly nextUpdateMs?: number }>;
  /** Whether an authority of ours is one that signs other authorities: a root or intermediate. */
  signsAuthorities(authorityId: string): boolean;
  /** DER. */
  authorityCertificate(id: string): Uint8Array | undefined;
  /** An operator's step in the life of the authorities. */
  operateAuthority(command: AuthorityCommand, caller: Caller): Promise<AuthorityAnswer>;
  /** PEM of what is presented behind a certificate of this authority; empty for one that is not there. */
  chainBehind(authorityId: string): string;
  /** Answers a request below /acme/; undefined: ACME is not spoken. */
  readonly acme: ((request: { readonly method: string; readonly path: string; readonly contentType: string; readonly body: string; readonly address: string }) =>
    Promise<{ readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string | null }>) | undefined;
  /** The own trust domain's bundle as a SPIFFE JWK Set and as PEM, with its sequence. */
  bundle(): { readonly jwks: string; readonly pem: string; readonly sequence: string };
  /** An admin's word on the time. */
  readonly confirmClock: ClockConfirmer;
  /** Whether it can issue right now, and if not, why: the answer of /readyz. */
  readiness(): Promise<Readiness>;
}

export interface ServedCrl {
  readonly der: Uint8Array;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
}
