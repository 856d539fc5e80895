import { httpsFetcher } from "../../ca/attestation/fetch.ts";
import { parseAttestors, type AttestorConfig } from "../../ca/config/attestors.ts";

/** One attestor of the trust domain east, read as from the settings. */
export function attestorOf<Type extends AttestorConfig["type"]>(type: Type, settings: object): Extract<AttestorConfig, { type: Type }> {
  const faults: string[] = [];
  const [config] = parseAttestors(JSON.stringify({ tested: { type, ...settings } }), "east", faults);
  if (faults.length > 0 || config === undefined) throw new Error(faults.join("; "));
  return config as Extract<AttestorConfig, { type: Type }>;
}

/** What an attestor works with, and a clock that stands still. */
export function attestorDeps(options: { readonly timeoutMs?: number } = {}) {
  const clock = { nowMs: Date.now() };
  const fetcher = httpsFetcher(options);
  return { clock, fetch: fetcher.fetch, now: () => new Date(clock.nowMs), trustDomain: "east", close: fetcher.close };
}

/** A fact as its only value, for assertions. */
export function factsToObject(facts: ReadonlyMap<string, readonly string[]>): Record<string, string> {
  return Object.fromEntries([...facts].map(([name, values]) => [name, values.join(",")]));
}
