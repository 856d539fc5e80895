import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { CheckedCa, KeptLog } from "../check/gather.ts";
import { paths } from "../contract/paths.ts";
import type { Readiness } from "../contract/vitals.ts";
import { ApiError, type Api } from "./api.ts";

/** What is kept apart from the database, by where it is. */
export interface KeptFiles {
  readonly dataDir: string;
  /** Paths. */
  readonly checkpoints: readonly string[];
  /** The log's verifier key. */
  readonly key: string | undefined;
}

/** The CA over the network. */
export function checkedCa(ca: Api): CheckedCa {
  return { call: ca.call, fetchPublic: ca.fetchPublic, readiness: () => readReadiness(ca) };
}

/** @throws {ApiError} for a file that is named and cannot be read */
export function readKeptLog({ dataDir, checkpoints, key }: KeptFiles): KeptLog {
  const keyPath = join(dataDir, keyFile);
  const witness = join(dataDir, witnessFile);
  return {
    verifierKey: key ?? (existsSync(keyPath) ? readKept(keyPath).trim() : undefined),
    notes: [...(existsSync(witness) ? [witness] : []), ...checkpoints].map((where) => ({ where, note: readKept(where) })),
  };
}

async function readReadiness(ca: Api): Promise<Readiness> {
  const { text } = await ca.probe(paths.readyz);
  try {
    return JSON.parse(text) as Readiness;
  } catch (cause) {
    throw new ApiError("what answers there is no CA; is --url right?", { cause });
  }
}

function readKept(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new ApiError(`${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? "unknown error"})`, { cause });
  }
}

const keyFile = "audit-log.vkey";
const witnessFile = "witnessed-checkpoint";
