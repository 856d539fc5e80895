import { randomBytes, type KeyObject } from "node:crypto";
import type { AcknowledgeRequest } from "../ca/contract/acknowledgements.ts";
import type { IssueRequest } from "../ca/contract/certificates.ts";
import { feedEpochHeader, idempotencyKeyHeader, mediaType } from "../ca/contract/headers.ts";
import type { IssueJwtSvidRequest } from "../ca/contract/jwt-svids.ts";
import { paths } from "../ca/contract/paths.ts";
import type { ReportRequest } from "../ca/contract/reports.ts";
import { parseBundle, type Bundle } from "../ca/pki/bundle.ts";
import { PkiError } from "../ca/pki/errors.ts";
import { encodeRequestAuthorization } from "../ca/pki/request-authorization.ts";
import { spiffeId } from "../ca/pki/spiffe-id.ts";
import { verifySvid } from "../ca/pki/svid.ts";
import { readChangedText, readIssued, readJwtSvid, readNothing, readRevocationPage, requireStream, type IssuedAnswer, type PolledRevocations } from "./ca-answer.ts";
import { caConnection, type CaConnection } from "./ca-connection.ts";
import { CaError } from "./ca-error.ts";
import { eventParser, type StreamEvent } from "./event-stream.ts";
import { PeerError } from "./peer.ts";

/** The CA as the proxy sees it. Every method throws CaError; whoever answers has been shown to be our CA before. */
export interface CaClient {
  /** With the same `idempotencyKey` and request, a lost answer is given again. */
  issue(request: IssueRequest, idempotencyKey: string): Promise<IssuedAnswer>;
  /** @param by  signs it, so that strangers cannot keep us from learning what is revoked; undefined while there is no certificate */
  revocations(after: number, by?: Signer): Promise<PolledRevocations>;
  /** Undefined when it is still the one with this entity tag. */
  bundle(etag: string | undefined): Promise<PolledBundle | undefined>;
  /** A token for these audiences. @param by  whose token: it signs the request */
  jwtSvid(by: Signer, request: Pick<IssueJwtSvidRequest, "audience">): Promise<string>;
  /** The bundles of all other trust domains; undefined when they are still those with this entity tag. @param by  as for `revocations` */
  federatedBundles(etag: string | undefined, by?: Signer): Promise<PolledBundle | undefined>;
  /** Tells which bundle is in force. */
  acknowledge(request: AcknowledgeRequest): Promise<void>;
  /** Tells what passed here. */
  report(request: ReportRequest): Promise<void>;
  /**
   * Who may call this workload; undefined when it is still the one with this entity tag.
   * @param by       whose policy: it signs the request
   * @param atLeast  a sequence that was heard of: the answer is not older
   */
  policy(by: Signer, etag: string | undefined, atLeast: number | undefined): Promise<PolledPolicy | undefined>;
  /**
   * Follows the feed behind `lastEventId`; resolves when the CA has ended the stream. What a listener throws ends it too.
   * @param by  as for `revocations`
   */
  watch(lastEventId: string | undefined, listener: WatchListener, by?: Signer): Promise<void>;
  close(): void;
}

/** Who signs a request: a certificate's chain, leaf first, and its key. */
export interface Signer {
  readonly chain: readonly Uint8Array[];
  readonly privateKey: KeyObject;
}

export interface PolledPolicy {
  readonly text: string;
  readonly etag: string | undefined;
}

export interface PolledBundle {
  readonly text: string;
  readonly etag: string | undefined;
  /** Undefined from a CA that has no feed. */
  readonly feedEpoch: string | undefined;
}

export interface WatchListener {
  readonly onEvent: (event: StreamEvent) => void;
  /** After each thing that came, if only a comment. */
  readonly onAlive: () => void;
}

/** Which CA, and by what it is known. */
export interface CaClientOptions {
  /** `https://host:port`. */
  readonly caUrl: string;
  readonly trustDomain: string;
  /** Bundle to verify the CA with; undefined before the first certificate, when only the fingerprint is known. */
  readonly ownBundle: () => Bundle | undefined;
  /** Serial numbers that no server may have, lower-case hex. */
  readonly revoked: () => ReadonlySet<string>;
  /** SHA-256 of the DER of the roots that it may have before there is a bundle, lower-case hex: of the bootstrap string, or of the settings. */
  readonly rootFingerprints: readonly string[];
  /** The CA's TLS is a front end's, with a certificate of the web; default false. */
  readonly byWebRoots?: boolean;
  readonly now: () => number;
  readonly timeoutMs?: number;
}

/**
 * The CA proves itself like everybody else: an SVID, `spiffe://<trust domain>/countersign/ca`, verified by the bundle we
 * hold. Before there is a bundle, one unverified connection fetches the CA's, and only the root in it with the pinned
 * fingerprint is believed; nothing of ours goes over that connection, and what follows is verified by that root. Where a front end ends
 * the TLS, web roots and the name in the URL tell who it is; the bundle must have the pinned root all the same.
 */
export function caClient({ caUrl, trustDomain, ownBundle, revoked, rootFingerprints, byWebRoots = false, now, timeoutMs }: CaClientOptions): CaClient {
  const caId = spiffeId(trustDomain, "countersign", "ca");
  const common = { url: caUrl, byWebRoots, ...(timeoutMs !== undefined && { timeoutMs }) };
  let pinned: Bundle | undefined;

  const connection = caConnection({ ...common, verifyServer });

  function verifyServer(chain: readonly Uint8Array[]): void {
    if (byWebRoots) return;
    const bundle = ownBundle() ?? pinned;
    if (bundle === undefined) throw new PkiError("svid_trust_domain_unknown", "there is no bundle to verify it with");
    const { id, path } = verifySvid({ chain, bundles: new Map([[trustDomain, bundle]]), nowMs: now(), purpose: "server" });
    if (id.uri !== caId.uri) throw new PkiError("svid_id_unexpected", `it is ${id.uri}, not ${caId.uri}`);
    const one = path.certificates.find(({ serialNumber }) => revoked().has(serialNumber));
    if (one !== undefined) throw new PeerError("certificate_revoked", `its certificate ${one.serialNumber} is revoked`);
  }

  async function trusted(): Promise<CaConnection> {
    if (ownBundle() === undefined) pinned ??= await fetchPinned({ ...common, trustDomain, rootFingerprints, nowMs: now() });
    return connection;
  }

  function signed(target: string, by: Signer | undefined, method = "GET", body = ""): Readonly<Record<string, string>> {
    if (by === undefined) return {};
    const { chain, privateKey } = by;
    const nonce = randomBytes(nonceBytes).toString("base64url");
    return { authorization: encodeRequestAuthorization({ method, target, body, chain, privateKey, audience: trustDomain, nowMs: now(), nonce }) };
  }

  return {
    async issue(request, idempotencyKey) {
      const response = await (await trusted()).request({
        method: "POST", path: paths.certificates, headers: { [idempotencyKeyHeader]: idempotencyKey },
        body: JSON.stringify(request), maxBytes: maxIssuedBytes,
      });
      return readIssued(response, now());
    },
    async revocations(after, by) {
      const path = `${paths.revocations}?after=${after}`;
      const response = await (await trusted()).request({ method: "GET", path, maxBytes: maxPageBytes, headers: signed(path, by) });
      return readRevocationPage(response, now());
    },
    async bundle(etag) {
      const response = await (await trusted()).request({
        method: "GET", path: paths.bundle, maxBytes: maxBundleBytes, ...(etag !== undefined && { headers: { "if-none-match": etag } }),
      });
      const text = readChangedText(response, now());
      const feedEpoch = response.headers[feedEpochHeader];
      return text === undefined ? undefined : { text, etag: response.headers.etag, feedEpoch: typeof feedEpoch === "string" ? feedEpoch : undefined };
    },
    async jwtSvid(by, request) {
      const body = JSON.stringify(request);
      const response = await (await trusted()).request({
        method: "POST", path: paths.jwtSvids, body, maxBytes: maxRefusalBytes, headers: signed(paths.jwtSvids, by, "POST", body),
      });
      return readJwtSvid(response, now());
    },
    async federatedBundles(etag, by) {
      const path = paths.federatedBundles;
      const response = await (await trusted()).request({
        method: "GET", path, maxBytes: maxFederatedBytes, headers: { ...signed(path, by), ...(etag !== undefined && { "if-none-match": etag }) },
      });
      const text = readChangedText(response, now());
      return text === undefined ? undefined : { text, etag: response.headers.etag, feedEpoch: undefined };
    },
    async acknowledge(request) {
      const response = await (await trusted()).request({
        method: "POST", path: paths.acknowledgements, body: JSON.stringify(request), maxBytes: maxRefusalBytes,
      });
      readNothing(response, now());
    },
    async report(request) {
      const response = await (await trusted()).request({ method: "POST", path: paths.reports, body: JSON.stringify(request), maxBytes: maxRefusalBytes });
      readNothing(response, now());
    },
    async policy(by, etag, atLeast) {
      const target = `${paths.policy}${atLeast === undefined ? "" : `?sequence=${atLeast}`}`;
      const response = await (await trusted()).request({
        method: "GET", path: target, maxBytes: maxPolicyBytes, headers: { ...signed(target, by), ...(etag !== undefined && { "if-none-match": etag }) },
      });
      const text = readChangedText(response, now());
      return text === undefined ? undefined : { text, etag: response.headers.etag };
    },
    async watch(lastEventId, { onEvent, onAlive }, by) {
      const { status, headers, chunks } = await (await trusted()).open({
        path: paths.watch, silenceMs: watchSilenceMs,
        headers: {
          accept: `${mediaType.eventStream}, ${mediaType.problem}`, ...signed(paths.watch, by), ...(lastEventId !== undefined && { "last-event-id": lastEventId }),
        },
      });
      if (status !== 200) {
        let text = "";
        for await (const chunk of chunks) {
          text += Buffer.from(chunk).toString("latin1");
          if (text.length > maxRefusalBytes) break;
        }
        return requireStream({ status, headers, text }, now());
      }
      requireStream({ status, headers, text: "" }, now());
      const parse = eventParser();
      for await (const chunk of chunks) {
        for (const event of parse(chunk)) onEvent(event);
        onAlive();
      }
    },
    close: () => connection.close(),
  };
}

interface PinOptions {
  readonly url: string;
  readonly byWebRoots: boolean;
  readonly timeoutMs?: number;
  readonly trustDomain: string;
  readonly rootFingerprints: readonly string[];
  readonly nowMs: number;
}

/** The only connection that verifies nobody: it carries a GET without any secret, and of the answer one hash decides. */
async function fetchPinned({ trustDomain, rootFingerprints, nowMs, ...common }: PinOptions): Promise<Bundle> {
  if (rootFingerprints.length === 0) {
    throw new CaError("ca_untrusted", "there is neither a bundle nor a bootstrap string to know the CA by");
  }
  const unverified = caConnection({ ...common, verifyServer: () => undefined });
  try {
    const response = await unverified.request({ method: "GET", path: paths.bundle, maxBytes: maxBundleBytes });
    const bundle = parseBundle(trustDomain, readChangedText(response, nowMs) ?? "");
    const roots = bundle.x509Authorities.filter(({ fingerprint }) => rootFingerprints.includes(fingerprint));
    if (roots.length > 0) return { trustDomain, x509Authorities: roots, jwtAuthorities: [] };
  } catch (cause) {
    if (cause instanceof CaError) throw cause;
    throw new CaError(
      "ca_untrusted",
      `what answers at ${common.url} has no bundle: ${(cause as Error).message}; nothing was sent to it`,
      { cause },
    );
  } finally {
    unverified.close();
  }
  throw new CaError("ca_untrusted",
    `what answers at ${common.url} does not have the root ${rootFingerprints.map((one) => `${one.slice(0, 16)}...`).join(" or ")} that the bootstrap string or the settings name: ` +
      "another CA, or somebody in between; the token was not sent. If the CA was set up anew, make a new token, or name its new root");
}

/** A chain of RSA-4096 certificates with twenty bundles stays below. */
const maxIssuedBytes = 2 * 1024 * 1024;
const maxBundleBytes = 1024 * 1024;
/** Those of two thousand trust domains in rotation. */
const maxFederatedBytes = 16 * 1024 * 1024;
const maxPageBytes = 1024 * 1024;
/** The CA keeps no more than 1 MiB of policies and services. */
const maxPolicyBytes = 4 * 1024 * 1024;
const nonceBytes = 16;
const maxRefusalBytes = 64 * 1024;
/** Three of the CA's signs of life. */
const watchSilenceMs = 45_000;
