import { generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import { outsideRow } from "../../../ca/authority/active-issuer.ts";
import type { AuthorityDraft } from "../../../ca/authority/change.ts";
import type { AuthorityCraft } from "../../../ca/authority/craft.ts";
import type { AuthorityState } from "../../../ca/contract/authorities.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import type { AuthorityRow } from "../../../ca/store/rows/authorities.ts";
import { upstreamCraft, type UpstreamCraftDeps } from "../../../ca/upstream/craft.ts";
import { testAuthority, testNowMs } from "../../support/test-ca.ts";

const above = testAuthority({ trustDomain: "above" });
const certificate = parseCertificate(above.issuer({ spiffeId: "spiffe://east" }).der);
const root = (state: AuthorityState): AuthorityRow => ({ ...outsideRow("root", parseCertificate(above.der), { kind: "upstream" }, testNowMs), state });

describe("an issuer by a root of the CA above", () => {
  function craft() {
    const asked = { times: 0 };
    const denied: { readonly sequence: number; readonly serialNumber: string }[] = [{ sequence: 5, serialNumber: "another" }];
    const deps = {
      config: { issuerRenewBeforeMs: 1000 }, sealing: {},
      store: { revocationSequence: async () => denied.at(-1)!.sequence, revocations: async ({ after }: { readonly after: number }) => denied.filter(({ sequence }) => sequence > after) },
      obtain: async () => (asked.times++, { certificate, privateKey: generateKeyPairSync("ed25519").privateKey, above: [] }),
    } as unknown as UpstreamCraftDeps;
    const { addIssuer } = upstreamCraft({} as AuthorityCraft, deps);
    return { asked, denied, add: (rows: readonly AuthorityRow[], afterMs = 0) => addIssuer({} as AuthorityDraft, root("active"), rows, testNowMs + afterMs) };
  }

  test("that is not published here is not taken, and is waited for", async () => {
    const { asked, add } = craft();
    for (let time = 0; time < 2; time++) await expect(add([], time * 3_600_000)).rejects.toMatchObject({ code: "upstream_root_unknown" });
    expect(asked.times).toBe(1);
  });

  test("that the CA above revoked meanwhile is not taken, and another one is asked for", async () => {
    const { asked, denied, add } = craft();
    await expect(add([])).rejects.toMatchObject({ code: "upstream_root_unknown" });
    denied.push({ sequence: 6, serialNumber: "a third" });
    await expect(add([])).rejects.toMatchObject({ code: "upstream_root_unknown" });
    expect(asked.times).toBe(1);
    denied.push({ sequence: 7, serialNumber: certificate.serialNumber });
    await expect(add([])).rejects.toMatchObject({ code: "upstream_root_unknown" });
    expect(asked.times).toBe(2);
  });

  test("that is of no use, as it does not let us issue, is asked for anew some minutes later, when that may be put right", async () => {
    const { asked, add } = craft();
    for (const minutes of [0, 5, 9]) await expect(add([root("active")], minutes * 60_000)).rejects.toThrow();
    expect(asked.times).toBe(1);
    for (const minutes of [10, 15]) await expect(add([root("active")], minutes * 60_000)).rejects.toThrow();
    expect(asked.times).toBe(2);
  });

  test.for<AuthorityState>(["revoked", "retired"])("that is %s here is not taken, and another one is asked for", async (state) => {
    const { asked, add } = craft();
    for (let time = 0; time < 2; time++) await expect(add([root(state)])).rejects.toMatchObject({ code: "upstream_root_unknown" });
    expect(asked.times).toBe(2);
  });
});
