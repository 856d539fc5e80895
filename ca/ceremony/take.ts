import { hash } from "node:crypto";
import { encodeEntry } from "../audit/event.ts";
import { authorityIdOf } from "../authority/active-issuer.ts";
import { authorityDraft } from "../authority/change.ts";
import { crossSign } from "../authority/cross-sign.ts";
import { checkRoot, readRoot } from "../authority/import-root.ts";
import { AuthorityError } from "../authority/errors.ts";
import type { AuthoritySigners, OutsideKey } from "../authority/signers.ts";
import type { CaConfig } from "../config/config.ts";
import { lintFailures } from "../lint/certificate.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { parseCrl } from "../pki/crl.ts";
import { PkiError } from "../pki/errors.ts";
import { signatureAlgorithmFor } from "../pki/key.ts";
import { validatePath } from "../pki/path.ts";
import { decodePem } from "../pki/pem.ts";
import type { Act } from "../store/acts.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { CeremonyRow } from "../store/rows/ceremonies.ts";
import type { Store } from "../store/store.ts";
import { hashTranscript, readAnswer, type CeremonyAnswer } from "./answer.ts";
import { CeremonyError } from "./errors.ts";
import { offlineCrls } from "./offline-crls.ts";
import { readRequest, type CeremonyRequest } from "./request.ts";

export interface TakeDeps {
  readonly store: Store;
  readonly config: CaConfig;
  readonly now: () => Date;
  /** For a root before it whose key is not offline: that vouches for the new one by itself. */
  readonly signers: AuthoritySigners;
}

export interface TakeOptions {
  /** With a root: the answer by which the root before it, which is offline, vouches for it. */
  readonly cross?: string | undefined;
  /** Where the CA finds a new root's key; without it, the key is offline. */
  readonly rootKey?: { readonly key: OutsideKey; readonly spki: Uint8Array } | undefined;
}

/** What an answer brought. */
export interface Taken {
  readonly kind: CeremonyRequest["kind"];
  /** The new one, or the one whose CRL it is. */
  readonly authority: Pick<AuthorityRow, "id" | "type" | "state">;
  /** The end of what was signed. */
  readonly untilMs: number;
}

/**
 * Takes the answer of a ceremony: authority, transcript and the end of the request are one commit, so it is taken once.
 * @throws {CeremonyError} answer_malformed | request_unknown | answer_refused | state_refused
 * @throws {StoreError} ceremony_unknown where another took it in this moment
 */
export async function takeAnswer(deps: TakeDeps, text: string, { cross: crossText, rootKey }: TakeOptions = {}): Promise<Taken> {
  const { store, now } = deps;
  const nowMs = now().getTime();
  const { answer, request, row } = await findRequest(deps, text);
  const rows = await store.authorities();
  const ends = [endOf(answer, row.id, nowMs)];
  if (request.kind === "root-crl") return takeCrl(deps, request, answer, rows, { entry: ends[0]!, answers: { ceremonies: [row.id], closedAtMs: nowMs } });
  if (request.kind === "cross-certificate") {
    throw refused("a cross certificate is taken together with its root: countersign ceremony import ROOT-ANSWER --cross CROSS-ANSWER");
  }
  const certificate = readResult(answer);
  if (rows.some(({ id }) => id === authorityIdOf(certificate))) {
    throw refused("this CA has an authority with that key already; each has a key of its own");
  }
  let made = request.kind === "root" ? newRoot(request, certificate, rows, nowMs) : newIntermediate(request, certificate, row, rows, nowMs);
  const ceremonies = [row.id];
  if (crossText !== undefined) {
    const cross = await findRequest(deps, crossText);
    made = { ...made, crossCertificate: readCross(cross, certificate, rows, nowMs).der };
    ceremonies.push(cross.row.id);
    ends.push(endOf(cross.answer, cross.row.id, nowMs));
  } else if (request.kind === "root") {
    made = { ...made, ...(await crossByActive(deps, certificate, rows, nowMs)) };
  }
  if (rootKey !== undefined) made = { ...made, key: keyOf(rootKey, request, certificate) };
  const draft = authorityDraft({ actor: "system", nowMs, bundleSequence: (await store.state())?.bundleSequence ?? 0 });
  draft.create(made);
  const act = draft.act();
  // If we die before this lands, the answer can be taken again.
  await store.commit({ ...act, entries: [...act.entries, ...ends], answers: { ceremonies, closedAtMs: nowMs } });
  return { kind: request.kind, authority: made, untilMs: made.notAfterMs };
}

/**
 * Reads the root in an answer that was not taken yet, as it would be taken.
 * @throws {CeremonyError} answer_malformed | request_unknown | answer_refused
 */
export async function rootOfAnswer(deps: FindDeps, text: string): Promise<Certificate> {
  const { answer, request } = await findRequest(deps, text);
  if (request.kind !== "root") throw refused("it is not the answer to a request for a root");
  const root = readResult(answer);
  newRoot(request, root, await deps.store.authorities(), deps.now().getTime());
  return root;
}

type FindDeps = Omit<TakeDeps, "signers">;

interface Found {
  readonly answer: CeremonyAnswer;
  readonly request: CeremonyRequest;
  readonly row: CeremonyRow;
}

/** The open request that an answer is to. */
async function findRequest({ store, config }: FindDeps, text: string): Promise<Found> {
  const answer = readAnswer(text);
  const row = await store.ceremony(answer.transcript.request);
  if (row === undefined) {
    throw new CeremonyError(
      "request_unknown", "no request of this CA is answered by this: it was made by another CA, or the request was altered before it was signed",
    );
  }
  if (row.closedAtMs !== undefined) {
    const closedAt = new Date(row.closedAtMs).toISOString();
    throw new CeremonyError("request_unknown", `the request was answered or withdrawn at ${closedAt}; nothing was changed`);
  }
  const { request } = readRequest(row.request);
  if (request.trustDomain !== config.trustDomain) throw refused(`it is for the trust domain ${request.trustDomain}`);
  if (answer.transcript.kind !== request.kind) throw refused("its transcript is of something else");
  return { answer, request, row };
}

function endOf({ transcript }: CeremonyAnswer, ceremony: string, nowMs: number): string {
  const { kind, result } = transcript;
  return encodeEntry({ type: "ceremony.answered", ceremony, kind, result, transcriptHash: hashTranscript(transcript), transcript }, "system", nowMs);
}

/** The old root's word for the new one. */
function readCross({ answer, request }: Found, root: Certificate, rows: readonly AuthorityRow[], nowMs: number): Certificate {
  if (request.kind !== "cross-certificate" || readRoot(request.root).fingerprint !== root.fingerprint) {
    throw refused("the cross certificate is not one of this root");
  }
  const cross = readResult(answer);
  if (Buffer.compare(cross.tbs, Buffer.from(request.tbs, "base64")) !== 0) throw refused("the cross certificate is not the one that was asked for");
  requireSignedBy(readRoot(request.signer), cross, rows, nowMs);
  return cross;
}

/** An active root whose key can be asked vouches for the new one at once. */
async function crossByActive(
  { config, signers }: TakeDeps, root: Certificate, rows: readonly AuthorityRow[], nowMs: number,
): Promise<Pick<AuthorityRow, "crossCertificate">> {
  const active = rows.find(({ type, state }) => type === "root" && state === "active");
  if (active === undefined || active.key.kind === "offline") return {};
  const old = { certificate: parseCertificate(active.certificate), signer: signers.signerFor(active) };
  const cross = await crossSign(root, old, { ...config, nowMs });
  return cross === undefined ? {} : { crossCertificate: cross.der };
}

function keyOf({ key, spki }: NonNullable<TakeOptions["rootKey"]>, { kind }: CeremonyRequest, root: Certificate): OutsideKey {
  if (kind !== "root") throw refused("only a root's key is named when it is imported; that of an intermediate was named in its request");
  if (Buffer.compare(spki, root.spki) !== 0) throw refused("the key that was named is not the key of the root");
  return key;
}

/** @returns the row of the root that signed it */
function requireSignedBy(root: Certificate, certificate: Certificate, rows: readonly AuthorityRow[], nowMs: number): AuthorityRow {
  const row = rows.find(({ id, state }) => id === authorityIdOf(root) && state !== "retired" && state !== "revoked");
  if (row === undefined || Buffer.compare(row.certificate, root.der) !== 0) throw refused("its root is not, or no longer, a root of this CA");
  try {
    validatePath({ leaf: certificate, intermediates: [], anchors: [root], nowMs });
  } catch (cause) {
    if (cause instanceof PkiError) throw refused(cause.message, cause);
    throw cause;
  }
  return row;
}

async function takeCrl(
  deps: FindDeps, request: Extract<CeremonyRequest, { readonly kind: "root-crl" }>, { result, transcript }: CeremonyAnswer,
  rows: readonly AuthorityRow[], end: { readonly entry: string; readonly answers: Act["answers"] },
): Promise<Taken> {
  const [der] = decodePem(result, "X509 CRL");
  if (der === undefined || hash("sha256", der, "hex") !== transcript.result) throw refused("its transcript is of another CRL");
  if (Buffer.compare(parseCrl(der).tbs, Buffer.from(request.tbs, "base64")) !== 0) throw refused("the CRL is not the one that was asked for");
  const id = authorityIdOf(readRoot(request.signer));
  const crl = await offlineCrls({ ...deps, rows }).accept(id, der, "system", end);
  const authority = rows.find((row) => row.id === id);
  if (authority === undefined) throw refused("its root is not a root of this CA");
  return { kind: request.kind, authority, untilMs: crl.nextUpdateMs };
}

function readResult({ result, transcript }: CeremonyAnswer): Certificate {
  try {
    const [der, ...more] = decodePem(result, "CERTIFICATE");
    if (der === undefined || more.length > 0) throw refused("it does not hold one certificate");
    const certificate = parseCertificate(der);
    if (transcript.result !== certificate.fingerprint) throw refused("its transcript is of something else");
    return certificate;
  } catch (cause) {
    if (cause instanceof PkiError) throw refused(cause.message, cause);
    throw cause;
  }
}

/** The first root begins at once; another one waits until all that live trust it. */
function newRoot(
  { trustDomain, lifetimeSeconds }: Extract<CeremonyRequest, { readonly kind: "root" }>, root: Certificate, rows: readonly AuthorityRow[],
  nowMs: number,
): AuthorityRow {
  try {
    checkRoot(root, nowMs);
  } catch (cause) {
    if (cause instanceof AuthorityError) throw refused(cause.message, cause);
    throw cause;
  }
  const [failure] = lintFailures(root.tbs, {
    kind: "root", signatureAlgorithm: signatureAlgorithmFor(root.keyAlgorithm), issuer: undefined, trustDomain,
    limits: {
      lifetimeMaxMs: lifetimeSeconds * 1000, clockSkewMs: maxSkewMs, keyAlgorithms: [root.keyAlgorithm],
      names: { dnsNames: undefined, ipRanges: undefined },
    },
  });
  if (failure !== undefined) throw refused(`the root breaks ${failure.id} (${failure.citation}): ${failure.detail}`);
  const isFirst = !rows.some(({ type, state }) => type === "root" && state === "active");
  return rowOf("root", root, isFirst ? "active" : "prepared", { kind: "offline" }, nowMs);
}

function newIntermediate(
  request: Extract<CeremonyRequest, { readonly kind: "intermediate" }>, certificate: Certificate, { sealedPrivateKey }: CeremonyRow,
  rows: readonly AuthorityRow[], nowMs: number,
): AuthorityRow {
  if (Buffer.compare(certificate.tbs, Buffer.from(request.tbs, "base64")) !== 0) {
    throw refused("the certificate is not the one that was asked for");
  }
  const parent = requireSignedBy(readRoot(request.signer), certificate, rows, nowMs);
  if (request.key.kind === "sealed" && sealedPrivateKey === undefined) throw refused("its key is not in the store any more");
  const key: AuthorityRow["key"] = request.key.kind === "sealed" ? { kind: "sealed", sealed: sealedPrivateKey! } : request.key;
  const isFirst = !rows.some(({ type, state }) => type === "intermediate" && state === "active");
  const state = isFirst && parent.state === "active" ? "active" : "prepared";
  return { ...rowOf("intermediate", certificate, state, key, nowMs), parentId: parent.id };
}

function rowOf(
  type: AuthorityRow["type"], certificate: Certificate, state: "active" | "prepared", key: AuthorityRow["key"], nowMs: number,
): AuthorityRow {
  return {
    id: authorityIdOf(certificate), type, state, certificate: certificate.der, key,
    lastNotAfterMs: 0, stateSinceMs: nowMs, notBeforeMs: certificate.notBeforeMs, notAfterMs: certificate.notAfterMs, createdAtMs: nowMs,
  };
}

function refused(detail: string, cause?: unknown): CeremonyError {
  return new CeremonyError("answer_refused", `the answer is refused and nothing was changed: ${detail}`, { cause });
}

/** The other machine's clock may differ; what matters is when the root ends. */
const maxSkewMs = 86_400_000;
