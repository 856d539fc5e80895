import { randomBytes } from "node:crypto";
import { readConfig, type CaConfig } from "../config/config.ts";
import { openSealing } from "../open-ca.ts";
import { reseal } from "../reseal.ts";
import { createSecretFile } from "../signer/key-file.ts";
import { openKms, type Kms } from "../signer/kms.ts";
import { wrapNewSealingKey } from "../signer/kms-sealing.ts";
import { loadSealing, type Sealing } from "../signer/sealing.ts";
import { openStore } from "../store/open.ts";
import { openTableSource } from "../store/open-tables.ts";
import { StoreError } from "../store/errors.ts";
import type { CaState } from "../store/rows/ca-state.ts";
import { UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { whileWaiting } from "./progress.ts";

export interface ResealOptions {
  readonly to: string;
  readonly store?: string | undefined;
  readonly "data-dir"?: string | undefined;
  readonly config?: string | undefined;
}

/**
 * `countersign store reseal`: every private key of the store under a new sealing key.
 * @throws {UsageError | ConfigError | SignerError | StoreError}
 */
export async function resealStore({ to, ...flags }: ResealOptions, io: CliIo): Promise<void> {
  const config = readConfig({ flags, env: io.env });
  const place = parsePlace(to, config);
  // Refused while a CA runs: what it sealed from now on would open under the old key only.
  await (await openTableSource(config.storeUrl, { exclusive: true })).close();
  const store = await openStore({ url: config.storeUrl });
  const kms = openKms({ endpoint: config.kmsEndpoint, region: config.kmsRegion });
  try {
    const state = await store.state();
    if (state === undefined) throw new StoreError("store_unavailable", "There is no CA in the store. Is --data-dir or --store right?");
    const from = await openSealing(config, state, kms);
    refuseSame(place, state, config);
    const made = await newSealing(place, state.trustDomain, kms);
    const keys = await whileWaiting(io, "every key to be sealed anew", reseal({ store, from, to: made.sealing, ...(made.wrapped !== undefined && { wrapped: made.wrapped }), nowMs: Date.now() }));
    io.stdout(`${keys} private keys are sealed anew, ${place.kind === "kms" ? `under a key that KMS wraps (${place.keyId})` : `under the key in ${place.path}`}.\n\n${nextSteps(place, state, config)}`);
  } finally {
    kms.close();
    await store.close();
  }
}

type Place = { readonly kind: "kms"; readonly keyId: string } | { readonly kind: "file"; readonly path: string };

function parsePlace(text: string, { sealingKeyPath }: CaConfig): Place {
  const [, keyId] = /^kms:([A-Za-z0-9:/_-]{1,2048})$/.exec(text) ?? [];
  if (keyId !== undefined) return { kind: "kms", keyId };
  if (text === "file") return { kind: "file", path: sealingKeyPath };
  if (text.startsWith("file:") && text.length > "file:".length) return { kind: "file", path: text.slice("file:".length) };
  throw new UsageError("--to is kms:KEY-ID, file:PATH, or file for sealingKeyFile.");
}

/** Where the key is now, there is no room for another one; a crash between file and store would lose both. */
function refuseSame(place: Place, { wrappedSealingKey }: CaState, { sealingKey, sealingKeyPath }: CaConfig): void {
  if (place.kind !== "file" || wrappedSealingKey !== undefined || sealingKey !== undefined || place.path !== sealingKeyPath) return;
  throw new UsageError(`The keys are sealed with the key in ${place.path} now; name another file with --to file:PATH, and give it as sealingKeyFile afterwards.`);
}

async function newSealing(place: Place, trustDomain: string, kms: Kms): Promise<{ readonly sealing: Sealing; readonly wrapped?: string }> {
  if (place.kind === "kms") return wrapNewSealingKey(kms, place.keyId, trustDomain);
  // If we die behind this, the file is there and seals nothing: the next try takes it.
  createSecretFile(place.path, `${randomBytes(sealingKeyBytes).toString("base64")}\n`);
  return { sealing: loadSealing({ sealingKey: undefined, sealingKeyPath: place.path }, { create: false }) };
}

function nextSteps(place: Place, { wrappedSealingKey }: CaState, { sealingKey, sealingKeyPath }: CaConfig): string {
  const before = wrappedSealingKey !== undefined ? "" : sealingKey !== undefined
    ? "COUNTERSIGN_SEALING_KEY opens nothing here any more: take it out of the environment.\n"
    : `The key in ${sealingKeyPath} opens nothing here any more, but older backups: keep\nit with them, and away from this machine.\n`;
  if (place.kind === "kms") return `Start the CA as before; it asks KMS for the key, and does not start without.\n${before}`;
  const named = place.path === sealingKeyPath ? "" : `Give every replica COUNTERSIGN_SEALING_KEY_FILE=${place.path} (sealingKeyFile).\n`;
  return `${named}Back the file up: without it the CA's private keys cannot be recovered.\n${before}`;
}

const sealingKeyBytes = 32;
