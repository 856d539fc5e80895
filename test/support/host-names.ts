import dns from "node:dns";
import { vi } from "vitest";

/** Lets names of a test lead to this machine, in this process, as /etc/hosts would. @returns what ends that */
export function resolveHere(...names: readonly string[]): () => void {
  const lookup = dns.lookup as (...args: unknown[]) => void;
  const spy = vi.spyOn(dns, "lookup").mockImplementation(((host: unknown, ...rest: unknown[]) => lookup(names.includes(String(host)) ? "127.0.0.1" : host, ...rest)) as never);
  return () => spy.mockRestore();
}
