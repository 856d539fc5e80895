import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { certifyPath } from "../../../ca/linkerd/certify.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeCsr } from "../../../ca/pki/csr.ts";
import { decodeFields, encodeField } from "../../../ca/pki/protobuf.ts";
import { startCluster, type Cluster } from "../../support/cluster.ts";
import { startParent, type ParentCa } from "../../support/clusters.ts";
import { auditEvents, newKey, type TestCa } from "../../support/running-ca.ts";

let parent: ParentCa;
let cluster: Cluster;
beforeAll(async () => {
  parent = await startParent();
  cluster = await startCluster(() => new Date(parent.clock.nowMs));
});
afterAll(async () => {
  await cluster.close();
  await parent.close();
});

/** A cluster's CA under another one, with an issuer by that one, that speaks Linkerd's protocol. */
async function below(trustDomain: string, scope: "cluster" | "cluster-unconstrained"): Promise<TestCa> {
  const { platform, ownTokenFile } = cluster;
  const attestor = {
    type: "kubernetes", api: platform.url, caFile: platform.caFile, tokenFile: ownTokenFile, audience: "identity.l5d.io",
    dnsNames: ["{serviceAccount}.{namespace}.serviceaccount.identity.linkerd.cluster.local"],
  };
  const settings = { linkerdListen: "127.0.0.1:0", linkerdAttestor: "cluster", apiNames: ["linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local"], attestors: { cluster: attestor } } as unknown as Record<string, string>;
  return parent.below(trustDomain, { invitation: await parent.invite(trustDomain, scope), settings });
}

async function certify({ ca }: TestCa) {
  const identity = "cart.shop.serviceaccount.identity.linkerd.cluster.local";
  const token = await cluster.token({ pod: "cart-1", audience: "identity.l5d.io" });
  return ca.linkerd!(certifyPath, Buffer.concat([encodeField(1, identity), encodeField(2, token), encodeField(3, encodeCsr({ privateKey: newKey(), dnsSans: [identity] }))]));
}
const issued = async ({ store }: TestCa) => (await auditEvents(store)).filter(({ type }) => type === "certificate.issued").length;

describe("LC-12: below an issuer with URI name constraints, which stock proxies refuse,", () => {
  test("nothing is issued, and the answer says what to do", async () => {
    const west = await below("west.example", "cluster");
    const before = await issued(west);
    expect(await certify(west)).toMatchObject({ code: 2, message: expect.stringMatching(/URI name constraints.*--unconstrained/) as string });
    expect(await issued(west)).toBe(before);
  });

  test("and without them a chain has none, and its leaf the DNS name before the SPIFFE ID", async () => {
    const north = await below("north.example", "cluster-unconstrained");
    const answer = await certify(north);
    if ("code" in answer) throw new Error(answer.message);
    const fields = decodeFields(answer);
    const [leaf, ...above] = [...(fields.get(1) ?? []), ...(fields.get(2) ?? [])].map((der) => parseCertificate(der));
    expect(leaf?.subjectAltName).toMatchObject({ dnsNames: ["cart.shop.serviceaccount.identity.linkerd.cluster.local"], uris: ["spiffe://north.example/ns/shop/sa/cart"] });
    expect(above.length).toBeGreaterThan(0);
    for (const { nameConstraints } of above) expect([nameConstraints?.permitted?.uris ?? [], nameConstraints?.excluded?.uris ?? []]).toEqual([[], []]);
  });
});
