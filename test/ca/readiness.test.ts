import { expect, test } from "vitest";
import { readinessReader, type ReadinessDeps } from "../../ca/readiness.ts";

const nowMs = Date.parse("2026-03-01T00:00:00Z");
const dayMs = 86_400_000;
const sealedLogKey = Buffer.from("the seal that was opened");
const away = async (): Promise<never> => { throw new Error("away"); };

const well: ReadinessDeps = {
  store: { ping: async () => undefined, state: async () => ({ sealedLogKey }) as never },
  state: { sealedLogKey },
  keeper: { current: () => ({ issuer: { certificate: { notAfterMs: nowMs + 2 * dayMs } } }) as never },
  clock: { doubt: () => undefined },
  signers: { troubles: () => [] },
  ceremonies: { due: async () => [] },
  upstream: undefined,
  certificateLifetimeMs: dayMs,
  now: () => new Date(nowMs),
};

test("a CA that can issue is ready, and says nothing more", async () => {
  expect(await readinessReader(well)()).toEqual({ ready: true, reasons: [] });
});

test.for<[string, Partial<ReadinessDeps>, RegExp]>([
  ["without an issuer", { keeper: { current: () => ({ issuer: undefined }) as never } }, /no active issuer/],
  ["whose issuer would end before what it signs", { certificateLifetimeMs: 3 * dayMs }, /issuer ends before/],
  ["that doubts the time", { clock: { doubt: () => "the clock jumped" } }, /^the clock jumped$/],
  ["whose database is away", { store: { ping: away, state: away } }, /database does not answer/],
])("one %s is not ready, and says why", async ([, fault, reason]) => {
  expect(await readinessReader({ ...well, ...fault })()).toEqual({ ready: false, reasons: [expect.stringMatching(reason)] });
});

test.for<[string, Partial<ReadinessDeps>, RegExp]>([
  ["whose keys were sealed anew", { store: { ...well.store, state: async () => ({ sealedLogKey: Buffer.from("another") }) as never } }, /sealed anew/],
  ["whose root's key does not answer", { signers: { troubles: () => [{ authorityId: "a1", location: "kms", message: "access denied" }] as never } }, /^the kms key of authority a1: access denied$/],
  ["whose ceremony is due", { ceremonies: { due: async () => ["sign the root's CRL"] } }, /CRL/],
  ["whose CA above is away", { upstream: { warnings: async () => ["the CA above does not answer"] } }, /CA above/],
])("one %s is ready, and warns", async ([, fault, warning]) => {
  expect(await readinessReader({ ...well, ...fault })()).toEqual({ ready: true, reasons: [], warnings: [expect.stringMatching(warning)] });
});

test("what cannot be asked for warnings keeps nobody from being ready", async () => {
  expect(await readinessReader({ ...well, store: { ...well.store, state: away }, ceremonies: { due: away }, upstream: { warnings: away } })()).toEqual({ ready: true, reasons: [] });
});
