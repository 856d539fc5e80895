import { readFileSync, statSync } from "node:fs";
import { parseBundle } from "../../ca/pki/bundle.ts";
import type { Log } from "../log.ts";
import type { HeldBundle, HeldBundles } from "./bundles.ts";

/** Bundles of other trust domains that the operator gave as files. */
export interface ForeignBundles {
  /** The last good reading of each file; a file never read well is missing. */
  held(): HeldBundles;
  /** Reads the files again; what cannot be read keeps its last good bundle and is reported when the reason changes. */
  refresh(): void;
}

/** Reads all files at once. @param files trust domain -> path */
export function foreignBundles(files: ReadonlyMap<string, string>, log: Log): ForeignBundles {
  const held = new Map<string, HeldBundle>();
  const faults = new Map<string, string>();

  function refresh(): void {
    for (const [trustDomain, path] of files) {
      try {
        const text = readBounded(path);
        if (held.get(trustDomain)?.text !== text) held.set(trustDomain, { text, bundle: parseBundle(trustDomain, text) });
        faults.delete(trustDomain);
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        const fault = code !== undefined && /^E[A-Z]+$/.test(code) ? code : message;
        if (faults.get(trustDomain) === fault) continue;
        faults.set(trustDomain, fault);
        const effect = held.has(trustDomain) ? "the last good one stays in force" : "nobody of that trust domain is let in";
        log.error({ trustDomain, path, error: fault }, `foreign bundle not read; ${effect}`);
      }
    }
  }

  refresh();
  return { held: () => held, refresh };
}

function readBounded(path: string): string {
  if (statSync(path).size > maxFileBytes) throw new Error(`larger than ${maxFileBytes} bytes`);
  return readFileSync(path, "utf8");
}

const maxFileBytes = 1024 * 1024;
