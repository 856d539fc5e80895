import { expect, test } from "vitest";
import { certifyPath } from "../../../ca/linkerd/certify.ts";
import { signingReader } from "../../../ca/linkerd/signing.ts";
import { encodeCsr } from "../../../ca/pki/csr.ts";
import { encodeField } from "../../../ca/pki/protobuf.ts";
import { Refusal } from "../../../ca/refusal.ts";
import { dayMs, newKey, startTestCa } from "../../support/running-ca.ts";

type Keeper = Parameters<typeof signingReader>[0];
const none = { issuer: undefined, chains: new Map(), published: { bundle: { x509Authorities: [] } } } as unknown as ReturnType<Keeper["current"]>;

test("without an issuer that could be made there is nothing that signs", async () => {
  const refused = async (): Promise<never> => { throw new Refusal("issuer_unavailable", "there is none"); };
  expect(await signingReader({ current: () => none, issuerUntil: refused }, () => new Date())()).toBeUndefined();
});

test("what is no refusal is a fault of ours, and no missing issuer", async () => {
  const broken = async (): Promise<never> => { throw new TypeError("a bug"); };
  await expect(signingReader({ current: () => none, issuerUntil: broken }, () => new Date())()).rejects.toThrow("a bug");
});

test("an issuer that has ended is replaced before it is looked at", async () => {
  const cluster = { type: "kubernetes", issuer: "https://oidc.example", keysFile: "none.json", audience: "identity.l5d.io", dnsNames: ["{serviceAccount}.{namespace}.serviceaccount.identity.linkerd.cluster.local"] };
  const host = await startTestCa({ settings: { linkerdListen: "127.0.0.1:0", linkerdAttestor: "cluster", apiNames: ["linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local"], attestors: { cluster } } as unknown as Record<string, string> });
  try {
    host.clock.nowMs += 3 * dayMs;
    // The next fault is named: it got past the look at the issuer.
    const message = Buffer.concat([encodeField(1, "cart"), encodeField(2, "token"), encodeField(3, encodeCsr({ privateKey: newKey() }))]);
    expect(await host.ca.linkerd!(certifyPath, message)).toMatchObject({ code: 9, message: expect.stringContaining("one DNS name") as string });
  } finally {
    await host.close();
  }
});
