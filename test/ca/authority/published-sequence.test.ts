import { afterAll, beforeAll, expect, test } from "vitest";
import { dayMs, startTestCa, type TestCa } from "../../support/running-ca.ts";

let east: TestCa;
beforeAll(async () => {
  east = await startTestCa({ deps: { onDemand: true } });
});
afterAll(() => east.close());

test("BF-03, BF-08: what is published changes its sequence with each change of its keys, upwards, whatever changed them, and with nothing else", async () => {
  const { ca, admin, clock } = east;
  const told: { readonly keys: string; readonly sequence: number }[] = [];
  const see = (): void => {
    const { keys, spiffe_sequence: sequence } = JSON.parse(ca.bundle().jwks) as { readonly keys: readonly { readonly kty?: string; readonly use?: string }[]; readonly spiffe_sequence: number };
    expect(keys.every(({ kty, use }) => kty !== undefined && (use === "x509-svid" || use === "jwt-svid"))).toBe(true);
    told.push({ keys: JSON.stringify(keys), sequence });
  };
  const idOf = async (type: string, state: string): Promise<string> => (await ca.authorities()).find((one) => one.type === type && one.state === state)!.id;
  see();
  const root = await idOf("root", "active");
  await ca.operateAuthority({ action: "prepare" }, admin);
  see();
  await ca.operateAuthority({ action: "taint", id: root, force: true }, admin);
  see();
  await ca.operateAuthority({ action: "revoke", id: root, force: true }, admin);
  see();
  const { keyId: id } = await ca.issueJwtSvid({ audience: ["db"], spiffeId: "spiffe://east/a" }, admin);
  see();
  await ca.operateAuthority({ action: "taint", id }, admin);
  see();
  // Years, in which issuers, JWT keys and at the end a root are replaced and go by themselves.
  for (let halves = 0; halves < 26; halves++) {
    clock.nowMs += 182 * dayMs;
    await ca.tick();
    see();
  }
  for (const [index, { keys, sequence }] of told.slice(1).entries()) {
    const before = told[index]!;
    expect([sequence > before.sequence, sequence >= before.sequence]).toEqual([keys !== before.keys, true]);
  }
  expect(new Set(told.map(({ keys }) => keys)).size).toBeGreaterThan(6);
}, 60_000);
