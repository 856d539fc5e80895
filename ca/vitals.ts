import { readFileSync } from "node:fs";
import packageJson from "../package.json" with { type: "json" };
import type { unprovedNames } from "./acme/unproved.ts";
import type { Attestors } from "./attestation/attestors.ts";
import type { AcmeConfig } from "./config/acme.ts";
import { parseCheckpoint } from "./audit/checkpoint.ts";
import { AuditError } from "./audit/errors.ts";
import { parseNote } from "./audit/note.ts";
import type { AuthoritySigners } from "./authority/signers.ts";
import type { CaConfig } from "./config/config.ts";
import type { KeyVitals, ReplicaVitals, UpstreamVitals, Vitals, WebCertificateVitals } from "./contract/vitals.ts";
import { parseCertificate } from "./pki/certificate.ts";
import { SignerError } from "./signer/errors.ts";
import type { AuthorityRow } from "./store/rows/authorities.ts";
import type { Store } from "./store/store.ts";

export interface VitalsDeps {
  readonly config: Pick<CaConfig, "trustDomain" | "listenHost" | "witnessPath">;
  readonly store: Pick<Store, "ping" | "vitals" | "crls" | "checkpoint" | "databaseTimeMs">;
  readonly signers: Pick<AuthoritySigners, "check" | "signerFor" | "troubles">;
  readonly rows: () => readonly AuthorityRow[];
  readonly sealing: Vitals["sealing"];
  readonly attestors: Pick<Attestors, "look">;
  /** Undefined: ACME is not spoken. */
  readonly acme: { readonly config: AcmeConfig; readonly unproved: Pick<ReturnType<typeof unprovedNames>, "list"> } | undefined;
  readonly publicUrl: () => string;
  /** The CA above this one; undefined: there is none. */
  readonly upstream?: (() => Promise<UpstreamVitals>) | undefined;
  readonly replicas: () => Promise<readonly ReplicaVitals[] | undefined>;
  /** Undefined: the listener has none. */
  readonly webCertificate?: (() => WebCertificateVitals) | undefined;
  readonly now: () => Date;
}

/** Makes the look at how this replica and its store are; those who ask at once share one, and keys outside and others' services are asked at most every ten seconds. */
export function vitalsReader(deps: VitalsDeps) {
  let looking: Promise<Vitals> | undefined;
  const keys = remembered(() => Promise.all(deps.rows().filter(({ state, key }) => (state === "active" || state === "prepared") && key.kind !== "upstream").map((row) => keyVitals(row, deps.signers))));
  const attestors = remembered(deps.attestors.look);
  // What is for ACME alone is loaded where it is spoken.
  const acme = remembered(async () => deps.acme && (await (await import("./acme/look.ts")).lookAtAcme(deps.acme.config)));

  async function look(): Promise<Vitals> {
    const { config, store, now } = deps;
    const startedMs = performance.now();
    await store.ping();
    const answeredInMs = performance.now() - startedMs;
    // Before the log's size: the log grows meanwhile, and is not to look as if it had been cut off.
    const witnessedSize = readWitnessedSize(config.witnessPath);
    const [vitals, crls, newest, keyList, attestorList, acmeLook, replicas] = await Promise.all([store.vitals(), store.crls(), store.checkpoint(), keys(), attestors(), acme(), deps.replicas()]);
    const databaseMs = store.databaseTimeMs();
    const nowMs = now().getTime();
    return {
      time: new Date(nowMs).toISOString(), trustDomain: config.trustDomain, version: packageJson.version,
      listensBeyondLoopback: !/^(?:127\.[\d.]+|::1|localhost)$/.test(config.listenHost), publicUrl: deps.publicUrl(),
      store: { ...vitals, answeredInMs, ...(databaseMs !== undefined && { clockOffsetMs: databaseMs - nowMs }) },
      keys: keyList, sealing: deps.sealing, attestors: attestorList,
      ...(acmeLook && { acme: { ...acmeLook, failures: deps.acme?.unproved.list() ?? [] } }),
      crls: crls.map(({ authorityId, list, number, thisUpdateMs, nextUpdateMs }) => (
        { authorityId, list, number, thisUpdate: new Date(thisUpdateMs).toISOString(), nextUpdate: new Date(nextUpdateMs).toISOString() }
      )),
      log: { size: newest?.size ?? 0, ...(witnessedSize !== undefined && { witnessedSize }) },
      ...(replicas && { replicas }),
      ...(deps.upstream && { upstream: await deps.upstream() }),
      ...(deps.webCertificate && { webCertificate: deps.webCertificate() }),
    };
  }

  return (): Promise<Vitals> => (looking ??= look().finally(() => (looking = undefined)));
}

/** What others have to be asked for, as of the last ten seconds; a failure is not remembered. */
function remembered<T>(ask: () => Promise<T>): () => Promise<T> {
  let held: { readonly found: Promise<T>; readonly atMs: number } | undefined;
  return () => {
    if (held === undefined || performance.now() - held.atMs > staleAfterMs) {
      const found = ask();
      held = { found, atMs: performance.now() };
      found.catch(() => (held = undefined));
    }
    return held.found;
  };
}

/** A key in the store is opened, one in KMS is asked; a token is only spoken of, since asking needs a process, as is what is offline. */
async function keyVitals(row: AuthorityRow, signers: VitalsDeps["signers"]): Promise<KeyVitals> {
  const keyId = row.key.kind === "kms" ? row.key.keyId : row.key.kind === "pkcs11" ? row.key.uri : undefined;
  const about = { authorityId: row.id, location: row.key.kind, ...(keyId !== undefined && { keyId }) };
  try {
    await signers.check(row);
    const fits = Buffer.compare(signers.signerFor(row).spki, parseCertificate(row.certificate).spki) === 0;
    if (!fits) return { ...about, trouble: "the key in its place is another one than the certificate's" };
    const known = signers.troubles().find(({ authorityId }) => authorityId === row.id);
    return known === undefined ? about : { ...about, trouble: known.message };
  } catch (error) {
    if (error instanceof SignerError) return { ...about, trouble: error.message };
    throw error;
  }
}

/** Undefined where there is none, or none that can be read: that it is missed is a finding. */
function readWitnessedSize(path: string): number | undefined {
  try {
    return parseCheckpoint(parseNote(readFileSync(path, "utf8"))).size;
  } catch (error) {
    if (error instanceof AuditError || (error as NodeJS.ErrnoException).code !== undefined) return undefined;
    throw error;
  }
}

const staleAfterMs = 10_000;
