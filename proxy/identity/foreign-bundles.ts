import { readFileSync, statSync } from "node:fs";
import { parseBundleMap } from "../../ca/pki/bundle-map.ts";
import { encodeBundle, parseBundle } from "../../ca/pki/bundle.ts";
import type { Log } from "../log.ts";
import type { HeldBundle, HeldBundles } from "./bundles.ts";

/** Bundles of other trust domains that the operator gave as files. */
export interface ForeignBundles {
  /** The last good reading of each file; a file never read well is missing. */
  held(): HeldBundles;
  /** Reads the files again; what cannot be read keeps its last good bundle and is reported when the reason changes. */
  refresh(): void;
}

export interface ForeignBundleFiles {
  /** Trust domain -> path; the map has no say in these. */
  readonly files: ReadonlyMap<string, string>;
  /** Path of a SPIFFE bundle map. */
  readonly map: string | undefined;
  /** Our own trust domain, whose bundle comes from the CA, whatever the map has. */
  readonly own: string;
}

/** Reads all files at once. */
export function foreignBundles({ files, map, own }: ForeignBundleFiles, log: Log): ForeignBundles {
  const single = new Map<string, HeldBundle>();
  let mapped: { readonly text: string; readonly bundles: HeldBundles } | undefined;
  let held: HeldBundles = single;
  const faults = new Map<string, string>();

  function refresh(): void {
    for (const [trustDomain, path] of files) {
      const effect = (): string => (single.has(trustDomain) ? "the last good one stays in force" : "nobody of that trust domain is let in");
      read({ trustDomain, path }, maxFileBytes, "foreign bundle", effect, (text) => {
        if (single.get(trustDomain)?.text !== text) single.set(trustDomain, { text, bundle: parseBundle(trustDomain, text) });
      });
    }
    if (map === undefined) return;
    const effect = (): string => (mapped === undefined ? "nobody is let in by it" : "the last good one stays in force");
    read({ path: map }, maxMapBytes, "foreign bundle map", effect, (text) => {
      // The state of the world: who is in it no more is believed no more.
      if (mapped?.text !== text) mapped = { text, bundles: new Map([...parseBundleMap(text)].filter(([name]) => name !== own && !files.has(name)).map(([name, bundle]) => [name, { text: encodeBundle(bundle), bundle }])) };
    });
    held = new Map([...(mapped?.bundles ?? []), ...single]);
  }

  function read(what: { readonly trustDomain?: string; readonly path: string }, maxBytes: number, name: string, effect: () => string, take: (text: string) => void): void {
    const key = what.trustDomain ?? "";
    try {
      take(readBounded(what.path, maxBytes));
      faults.delete(key);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const fault = code !== undefined && /^E[A-Z]+$/.test(code) ? code : message;
      if (faults.get(key) === fault) return;
      faults.set(key, fault);
      log.error({ ...what, error: fault }, `${name} not read; ${effect()}`);
    }
  }

  refresh();
  return { held: () => held, refresh };
}

function readBounded(path: string, maxBytes: number): string {
  if (statSync(path).size > maxBytes) throw new Error(`larger than ${maxBytes} bytes`);
  return readFileSync(path, "utf8");
}

const maxFileBytes = 1024 * 1024;
const maxMapBytes = 8 * 1024 * 1024;
