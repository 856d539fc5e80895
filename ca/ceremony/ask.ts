import { randomBytes } from "node:crypto";
import { sealAuthorityKey } from "../authority/active-issuer.ts";
import { intermediateTbs } from "../authority/create.ts";
import { crossTbs } from "../authority/cross-sign.ts";
import type { AuthoritySigners, OutsideKey } from "../authority/signers.ts";
import { encodeEntry } from "../audit/event.ts";
import type { CaConfig } from "../config/config.ts";
import { lintFailed } from "../issuance/lint-failed.ts";
import { LintRefusal } from "../lint/rule.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { subjectKeyIdentifier } from "../pki/key.ts";
import { encodePem } from "../pki/pem.ts";
import type { Sealing } from "../signer/sealing.ts";
import { generatePrivateKey, softwareSigner } from "../signer/software.ts";
import type { Signer } from "../signer/signer.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { CeremonyRow } from "../store/rows/ceremonies.ts";
import type { Store } from "../store/store.ts";
import { CeremonyError } from "./errors.ts";
import { offlineCrls } from "./offline-crls.ts";
import { rootOfAnswer } from "./take.ts";
import { possessionStatement, requestFormat, writeRequest, type CeremonyKey, type CeremonyRequest, type WrittenRequest } from "./request.ts";

export interface AskDeps {
  readonly store: Store;
  readonly sealing: Sealing;
  readonly signers: AuthoritySigners;
  readonly config: CaConfig;
  readonly now: () => Date;
}

/** Where an intermediate's key is to be; one outside was made beforehand. */
export type IntermediateKey = { readonly kind: "sealed" } | { readonly key: OutsideKey; readonly spki: Uint8Array };

/** Asks for a new root, whose key is made where it signs. */
export async function askForRoot(deps: AskDeps): Promise<WrittenRequest> {
  const { config, now } = deps;
  return open(deps, { ...common(config, now), kind: "root", lifetimeSeconds: Math.floor(config.rootLifetimeMs / 1000) });
}

/**
 * Asks an offline root to certify an intermediate. Its key is made now and sealed, or is outside.
 * @throws {CeremonyError} state_refused where no root's key is offline
 * @throws {AuthorityError} root_expired | root_expires_too_soon
 */
export async function askForIntermediate(deps: AskDeps, place: IntermediateKey, lifetimeMs: number): Promise<WrittenRequest> {
  const { config, store, sealing, signers, now } = deps;
  const root = parseCertificate(offlineRoot(await store.authorities()).certificate);
  const made = "key" in place ? undefined : generatePrivateKey(config.keyAlgorithm);
  const signer: Signer = made === undefined ? outsideSignerOf(place, signers) : softwareSigner(made);
  const tbs = await linted(deps, () => intermediateTbs({ ...config, lifetimeMs, nowMs: now().getTime() }, signer.spki, root));
  const proof = await signer.sign(possessionStatement(tbs));
  const key: CeremonyKey = "key" in place ? place.key : { kind: "sealed" };
  const id = Buffer.from(subjectKeyIdentifier(signer.spki)).toString("hex");
  return open(
    deps,
    {
      ...common(config, now), kind: "intermediate", signer: encodePem("CERTIFICATE", root.der),
      tbs: base64(tbs), proof: base64(proof), key,
    },
    made && sealAuthorityKey(id, made, sealing),
  );
}

/**
 * Asks the offline root to vouch for a new one, which is in an answer that was not taken yet: both come in together.
 * @throws {CeremonyError} state_refused, and what rootOfAnswer throws
 */
export async function askForCross(deps: AskDeps, rootAnswer: string): Promise<WrittenRequest> {
  const { config, store, now } = deps;
  const old = parseCertificate(offlineRoot(await store.authorities()).certificate);
  const root = await rootOfAnswer(deps, rootAnswer);
  const tbs = await linted(deps, () => crossTbs(root, old, { ...config, nowMs: now().getTime() }));
  if (tbs === undefined) throw new CeremonyError("state_refused", "the old root's path length leaves no room for another root below it");
  return open(deps, {
    ...common(config, now), kind: "cross-certificate", signer: encodePem("CERTIFICATE", old.der), root: encodePem("CERTIFICATE", root.der),
    tbs: base64(tbs),
  });
}

/**
 * Asks an offline root for its CRL, with all that is revoked by now.
 * @throws {CeremonyError} state_refused where no root's key is offline
 */
export async function askForCrl(deps: AskDeps, lifetimeMs: number): Promise<WrittenRequest> {
  const { config, store, now } = deps;
  const rows = await store.authorities();
  const root = offlineRoot(rows);
  const { tbs } = await linted(deps, () => offlineCrls({ ...deps, rows }).request(root.id, now().getTime() + lifetimeMs));
  return open(deps, {
    ...common(config, now), kind: "root-crl", signer: encodePem("CERTIFICATE", root.certificate), tbs: base64(tbs),
  });
}

/** Takes a request back: an answer to it is refused from then on. @throws {StoreError} ceremony_unknown */
export async function withdrawRequest({ store, now }: Pick<AskDeps, "store" | "now">, id: string): Promise<void> {
  const nowMs = now().getTime();
  await store.commit({
    kind: "record", answers: { ceremonies: [id], closedAtMs: nowMs },
    entries: [encodeEntry({ type: "ceremony.withdrawn", ceremony: id }, "system", nowMs)],
  });
}

/** The active root, whose key is offline. */
function offlineRoot(rows: readonly AuthorityRow[]): AuthorityRow {
  const root = rows.find(({ type, state }) => type === "root" && state === "active");
  if (root === undefined) {
    throw new CeremonyError("state_refused", "this CA has no root yet; begin with: countersign ceremony request root");
  }
  if (root.key.kind === "offline") return root;
  throw new CeremonyError(
    "state_refused", `the key of this CA's root ${root.id} is not offline (${root.key.kind}): the CA signs with it by itself`,
  );
}

/** What the lint refuses is on record too, and no request is made of it. */
async function linted<T>({ store, now }: AskDeps, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof LintRefusal) await store.commit({ kind: "record", entries: [encodeEntry(lintFailed(error), "system", now().getTime())] });
    throw error;
  }
}

/** The request is on record before anybody can carry it away: an answer to anything else is refused. */
async function open({ store, now }: AskDeps, request: CeremonyRequest, sealedPrivateKey?: Uint8Array): Promise<WrittenRequest> {
  const written = writeRequest(request);
  const nowMs = now().getTime();
  const ceremony: CeremonyRow = {
    id: written.id, request: written.text, createdAtMs: nowMs, ...(sealedPrivateKey !== undefined && { sealedPrivateKey }),
  };
  await store.commit({
    kind: "request-ceremony", ceremony,
    entries: [encodeEntry({ type: "ceremony.requested", ceremony: written.id, kind: request.kind }, "system", nowMs)],
  });
  return written;
}

function outsideSignerOf(place: IntermediateKey, signers: AuthoritySigners): Signer {
  if (!("key" in place)) throw new TypeError("a key that is made here is not outside");
  return signers.outside(place.key, place.spki);
}

function common({ trustDomain }: CaConfig, now: () => Date) {
  return { format: requestFormat, trustDomain, createdAt: now().toISOString(), nonce: randomBytes(16).toString("hex") } as const;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
