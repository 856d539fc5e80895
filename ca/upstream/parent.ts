import { randomBytes, type KeyObject } from "node:crypto";
import { acknowledgedText, type HeldBundle } from "../contract/acknowledgements.ts";
import type { IssuedCertificate, IssueRequest } from "../contract/certificates.ts";
import { idempotencyKeyHeader } from "../contract/headers.ts";
import type { IssuedIssuer, IssueIssuerRequest } from "../contract/issuers.ts";
import { paths } from "../contract/paths.ts";
import type { Problem } from "../contract/problem.ts";
import type { RevocationPage, RevocationReason } from "../contract/revocations.ts";
import { askEndpoint, type EndpointAnswer, type EndpointProof } from "../federation/endpoint.ts";
import { FederationError } from "../federation/errors.ts";
import { endpointId } from "../federation/fetch-pinned.ts";
import { parseBundle, type Bundle } from "../pki/bundle.ts";
import type { Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { encodeRenewalProof } from "../pki/renewal-proof.ts";
import { encodeRequestAuthorization } from "../pki/request-authorization.ts";
import { UpstreamError } from "./errors.ts";

/** Who asks: an X509-SVID of the parent's trust domain. */
export interface UpstreamIdentity {
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  readonly privateKey: KeyObject;
  readonly serialNumber: string;
  readonly notAfterMs: number;
}

export interface ParentDeps {
  /** `https://host:port` of its API. */
  readonly url: string;
  readonly trustDomain: string;
  readonly tls: "spiffe" | "web";
  /** PEM, for `web`; undefined: those that Node brings along. */
  readonly webRoots: readonly string[] | undefined;
  /** Its roots as they are known by now: it proves by them who it is. */
  readonly anchors: () => readonly Certificate[];
  readonly now: () => Date;
}

/** The API of the CA above, as far as this one uses it. All of it throws `UpstreamError`. */
export interface Parent {
  readonly url: string;
  readonly trustDomain: string;
  certify(request: IssueRequest, idempotencyKey: string): Promise<IssuedCertificate>;
  signIssuer(request: IssueIssuerRequest, identity: UpstreamIdentity, idempotencyKey: string): Promise<IssuedIssuer>;
  bundle(): Promise<{ readonly bundle: Bundle; readonly feedEpoch: string | undefined }>;
  revocations(after: number): Promise<RevocationPage>;
  acknowledge(held: HeldBundle, identity: UpstreamIdentity): Promise<void>;
  /** Of an issuer of ours; one that is revoked already, or forgotten, is as good. */
  revokeIssuer(serialNumber: string, reason: RevocationReason, identity: UpstreamIdentity): Promise<void>;
}

/** Asks the CA above, each time on a connection of its own; nothing is sent before it has proved who it is. */
export function parentApi({ url, trustDomain, tls, webRoots, anchors, now }: ParentDeps): Parent {
  function proof(): EndpointProof {
    if (tls === "web") return { profile: "https_web", roots: webRoots };
    const bundles = new Map([[trustDomain, { trustDomain, x509Authorities: anchors(), jwtAuthorities: [] }]]);
    return { profile: "https_spiffe", spiffeId: endpointId(trustDomain), bundles, nowMs: now().getTime() };
  }

  async function ask(method: "GET" | "POST", target: string, body?: object, headers: Readonly<Record<string, string>> = {}): Promise<EndpointAnswer> {
    const answer = await failing(() => askEndpoint({ method, url: new URL(target, url), headers, ...(body && { body: JSON.stringify(body) }), proof: proof() }));
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw declined(answer);
  }

  function signed(target: string, body: object, { chain, privateKey }: UpstreamIdentity): string {
    const nonce = randomBytes(24).toString("base64url");
    return encodeRequestAuthorization({ method: "POST", target, body: JSON.stringify(body), chain, privateKey, audience: trustDomain, nonce, nowMs: now().getTime() });
  }

  return {
    url, trustDomain,
    async certify(request, idempotencyKey) {
      return readJson(await ask("POST", paths.certificates, request, { [idempotencyKeyHeader]: idempotencyKey }));
    },
    async signIssuer(request, identity, idempotencyKey) {
      return readJson(await ask("POST", paths.issuers, request, { [idempotencyKeyHeader]: idempotencyKey, authorization: signed(paths.issuers, request, identity) }));
    },
    async bundle() {
      const { text, feedEpoch } = await ask("GET", paths.bundle);
      try {
        return { bundle: parseBundle(trustDomain, text), feedEpoch };
      } catch (cause) {
        if (cause instanceof PkiError) throw new UpstreamError("upstream_answer", `the bundle of ${trustDomain} is refused: ${cause.message}`, { cause });
        throw cause;
      }
    },
    async revocations(after) {
      const page = readJson<RevocationPage>(await ask("GET", `${paths.revocations}?after=${after}&limit=${pageRows}`));
      if (!Array.isArray(page.revocations) || !Number.isSafeInteger(page.sequence) || !Array.isArray(page.renew)) throw new UpstreamError("upstream_answer", `what ${trustDomain} answers is no page of revocations`);
      return page;
    },
    async acknowledge(held, { chain, privateKey }) {
      const proof = encodeRenewalProof({
        chain, privateKey, csr: Buffer.from(acknowledgedText(held)), audience: trustDomain, nowMs: now().getTime(), purpose: "acknowledgement",
      });
      await ask("POST", paths.acknowledgements, { ...held, proof });
    },
    async revokeIssuer(serialNumber, reason, identity) {
      const target = `${paths.certificates}/${serialNumber}/revoke`;
      try {
        await ask("POST", target, { reason }, { authorization: signed(target, { reason }, identity) });
      } catch (error) {
        if (!(error instanceof UpstreamError && (error.status === conflict || error.status === notFound))) throw error;
      }
    },
  };
}

/** What keeps an endpoint from answering, as a word about the CA above. @throws {UpstreamError} */
export async function failing<Result>(act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (cause) {
    if (!(cause instanceof FederationError)) throw cause;
    const code = ({ endpoint_unreachable: "upstream_unreachable", endpoint_untrusted: "upstream_untrusted", endpoint_answer: "upstream_answer", bundle_refused: "upstream_answer", hub_refused: "upstream_answer" } as const)[cause.code];
    const hint = code === "upstream_untrusted" && /not valid|expired/.test(cause.message) ? "; compare this machine's clock with that CA's" : "";
    throw new UpstreamError(code, `the CA above this one is not reached: ${cause.message}${hint}`, { cause });
  }
}

function declined({ status, text }: EndpointAnswer): UpstreamError {
  let said: Partial<Problem> = {};
  try {
    said = JSON.parse(text) as Partial<Problem>;
  } catch {
    // No problem document: the status has to do.
  }
  const detail = typeof said.detail === "string" ? said.detail.replaceAll(/[^\x20-\x7e]+/g, " ").slice(0, maxDetailLength) : "";
  const code = typeof said.code === "string" && /^[a-z_]{1,40}$/.test(said.code) ? said.code : `status ${status}`;
  return new UpstreamError("upstream_refused", `the CA above this one declined (${code}): ${detail}${hints[code] ?? ""}`, { status });
}

function readJson<T>({ text }: EndpointAnswer): T {
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new UpstreamError("upstream_answer", "what the CA above this one answers is not JSON", { cause });
  }
}

const invite = " Have a new string made there with \"countersign issuer invite\", and name its file as upstreamFile.";
const hints: Readonly<Record<string, string>> = {
  token_already_redeemed: invite, token_unknown: invite, token_expired: invite, certificate_expired: invite, certificate_revoked: invite,
  forbidden: " There, \"countersign operator list\" tells which issuers this CA may have.",
  lifetime_refused: " Set issuerLifetime to what it signs (and issuerRenewBefore below that), or have its foreignIssuerLifetimeMax raised.",
};
const conflict = 409;
const notFound = 404;
const pageRows = 1000;
const maxDetailLength = 400;
