import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Attestation } from "../../../ca/contract/attestation.ts";
import type { IssuedCertificate } from "../../../ca/contract/certificates.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { auditEvents, chainOf, newCsr, proofFor, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { startCluster, type Cluster } from "../../support/cluster.ts";
import { signToken, startPlatform, type Platform, type SigningKey } from "../../support/platform.ts";

let host: TestCa;
let west: Cluster;
let north: Cluster;
let issuer: Platform;
let key: SigningKey;
beforeAll(async () => {
  const clock = (): Date => new Date(host?.clock.nowMs ?? Date.now());
  [west, north, issuer] = await Promise.all([startCluster(clock), startCluster(clock), startPlatform()]);
  key = issuer.addKey("ci");
  const clusterOf = ({ platform, ownTokenFile }: Cluster): object => ({ type: "kubernetes", api: platform.url, caFile: platform.caFile, tokenFile: ownTokenFile });
  host = await startTestCa({
    settings: {
      attestors: {
        "west-cluster": { ...clusterOf(west), spiffeId: "spiffe://{trustDomain}/west/{namespace}/{serviceAccount}", dnsNames: ["{serviceAccount}.{namespace}.serviceaccount.identity.linkerd.cluster.local"] },
        "north-cluster": { ...clusterOf(north), when: { namespace: ["shop"] }, renew: "attest" },
        ci: { type: "oidc", issuer: issuer.url, caFile: issuer.caFile, when: { repository: "acme/*" }, spiffeId: "spiffe://east/ci/{+repository}" },
      },
      profiles: { ci: { spiffeIds: ["spiffe://east/ci/*"], attestations: ["oidc"], lifetime: "10m" } },
    } as unknown as Record<string, string>,
  });
});
afterAll(async () => {
  await host.close();
  await Promise.all([west.close(), north.close(), issuer.close()]);
});

const ask = (attestation: Attestation, csr = newCsr(), idempotencyKey?: string): Promise<IssuedCertificate> =>
  host.ca.issue({ csr: csr.csr, attestation }, idempotencyKey === undefined ? {} : { idempotencyKey });
const idToken = (claims: object = {}): Promise<string> => {
  const nowSeconds = Math.floor(host.clock.nowMs / 1000);
  return signToken(key, { iss: issuer.url, aud: "spiffe://east", sub: "ci", exp: nowSeconds + 300, iat: nowSeconds, repository: "acme/shop", jti: crypto.randomUUID(), ...claims });
};
const renew = async (issued: IssuedCertificate, holder: ReturnType<typeof newCsr>): Promise<IssuedCertificate> => {
  const next = newCsr();
  return ask({ type: "svid", proof: proofFor(issued, holder.privateKey, next.der, host.clock.nowMs) }, next);
};
const attestations = async (): Promise<string[]> => (await host.ca.metrics.registry.getSingleMetricAsString("countersign_attestations_total")).split("\n").filter((line) => !line.startsWith("#"));

describe("an attestor", () => {
  test("of a cluster names the workload by its template, DNS name too, and the log says by what", async () => {
    const issued = await ask({ type: "kubernetes", attestor: "west-cluster", token: await west.token({ pod: "cart-1" }) });
    expect(issued.spiffeId).toBe("spiffe://east/west/shop/cart");
    expect(parseCertificate(chainOf(issued)[0]!).subjectAltName?.dnsNames).toEqual(["cart.shop.serviceaccount.identity.linkerd.cluster.local"]);
    expect((await auditEvents(host.store))[issued.logIndex]).toMatchObject({
      actor: "spiffe://east/west/shop/cart", attestation: "kubernetes", attestor: "west-cluster", evidence: { serviceAccount: "shop/cart", pod: "cart-1", podUid: "uid-of-cart-1", node: "node-1" },
    });
    expect(await host.store.certificate(issued.serialNumber)).toMatchObject({ attestor: "west-cluster", attestation: "kubernetes" });
  });

  test("has to be named where there are several of its type, and one cluster's token is nothing at another", async () => {
    const token = await west.token({ pod: "cart-1" });
    await expect(ask({ type: "kubernetes", token })).rejects.toMatchObject({ code: "attestation_refused", message: expect.stringContaining("2 attestors") as string });
    await expect(ask({ type: "kubernetes", attestor: "north-cluster", token })).rejects.toMatchObject({ code: "attestation_refused" });
    await expect(ask({ type: "kubernetes", attestor: "south-cluster", token })).rejects.toMatchObject({ code: "attestation_refused", message: expect.stringContaining("no such attestor") as string });
    await expect(ask({ type: "oidc", attestor: "west-cluster", token })).rejects.toMatchObject({ code: "attestation_refused" });
    await expect(ask({ type: "x509", proof: "x" })).rejects.toMatchObject({ code: "attestation_refused" });
  });

  test("vouches for nobody whom no rule of it fits", async () => {
    await expect(ask({ type: "kubernetes", attestor: "north-cluster", token: await north.token({ namespace: "bank", pod: "a-1" }) })).rejects.toMatchObject({ code: "attestation_refused", message: expect.stringContaining("another namespace") as string });
    await expect(ask({ type: "oidc", token: await idToken({ repository: "acme-evil/shop" }) })).rejects.toMatchObject({ code: "attestation_refused" });
  });

  test("vouches for no identity that a claim was made up for", async () => {
    for (const repository of ["acme/../../countersign/ca", "acme/x/..", "acme//x", "acme/%2e%2e/x", "acme/a b"]) {
      await expect(ask({ type: "oidc", token: await idToken({ repository }) }), repository).rejects.toMatchObject({ code: "attestation_refused" });
    }
  });

  test("gives the profile that is for its type, and its line keeps it", async () => {
    const holder = newCsr();
    const issued = await ask({ type: "oidc", token: await idToken() }, holder);
    const minutes = ({ notBefore, notAfter }: IssuedCertificate): number => Math.round((Date.parse(notAfter) - Date.parse(notBefore)) / 60_000);
    expect(minutes(issued)).toBe(10);
    const renewed = await renew(issued, holder);
    expect(minutes(renewed)).toBe(10);
    expect(await host.store.certificate(renewed.serialNumber)).toMatchObject({ attestation: "svid", attestor: "ci", renewedFrom: issued.serialNumber });
    expect((await auditEvents(host.store))[renewed.logIndex]).toMatchObject({ attestor: "ci", attestation: "svid" });
  });

  test("takes an ID token once, also of many at once, and a retry with the same key gets the same certificate", async () => {
    const token = await idToken();
    const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => ask({ type: "oidc", token })));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    await expect(ask({ type: "oidc", token })).rejects.toMatchObject({ code: "attestation_refused", message: expect.stringContaining("seen this token") as string });
    const [csr, again] = [newCsr(), await idToken()];
    const first = await ask({ type: "oidc", token: again }, csr, "once");
    expect((await ask({ type: "oidc", token: again }, csr, "once")).serialNumber).toBe(first.serialNumber);
  });

  test("takes a pod's token again: the kubelet gives a restarted container the same one", async () => {
    const token = await west.token({ pod: "cart-2" });
    await ask({ type: "kubernetes", attestor: "west-cluster", token });
    await ask({ type: "kubernetes", attestor: "west-cluster", token });
  });

  test("may demand evidence anew for each certificate: then a deleted pod gets no other one", async () => {
    const holder = newCsr();
    const token = await north.token({ pod: "cart-1" });
    const issued = await ask({ type: "kubernetes", attestor: "north-cluster", token }, holder);
    await expect(renew(issued, holder)).rejects.toMatchObject({ code: "attestation_required" });
    await ask({ type: "kubernetes", attestor: "north-cluster", token });
    north.deletedPods.add("cart-1");
    await expect(ask({ type: "kubernetes", attestor: "north-cluster", token })).rejects.toMatchObject({ code: "attestation_refused" });
  });

  test("is counted by name and outcome", async () => {
    expect(await attestations()).toEqual(expect.arrayContaining([expect.stringMatching(/attestor="ci",outcome="ok"\} \d/), expect.stringMatching(/attestor="north-cluster",outcome="attestation_refused"\} \d/)]));
  });

  test("that cannot be asked is no denial, and tells when to come back", async () => {
    north.platform.answers.delete("/apis/authentication.k8s.io/v1/tokenreviews");
    await expect(ask({ type: "kubernetes", attestor: "north-cluster", token: await north.token({ pod: "b-1" }) })).rejects.toMatchObject({ code: "attestor_unavailable", retryAfterSeconds: 5 });
    expect(JSON.stringify(await auditEvents(host.store))).not.toContain("attestor_unavailable");
  });

  test("never has its tokens in the log", async () => {
    expect(JSON.stringify(await auditEvents(host.store)) + host.logged.join("\n")).not.toMatch(/eyJ[A-Za-z0-9_-]{20}/);
  });
});

test("a certificate whose attestor the CA no longer has does not renew itself", async () => {
  const dataDir = mkdtempSync(`${tmpdir()}/countersign-attestors-`);
  const cluster = { one: { type: "kubernetes", issuer: west.platform.url, caFile: west.platform.caFile } };
  const first = await startTestCa({ dataDir, settings: { attestors: cluster } as unknown as Record<string, string> });
  const holder = newCsr();
  const issued = await first.ca.issue({ csr: holder.csr, attestation: { type: "kubernetes", token: await west.token({ pod: "cart-9" }) } }, {});
  await first.close();
  const second = await startTestCa({ dataDir });
  try {
    const next = newCsr();
    const proof = proofFor(issued, holder.privateKey, next.der, second.clock.nowMs);
    await expect(second.ca.issue({ csr: next.csr, attestation: { type: "svid", proof } }, {})).rejects.toMatchObject({ code: "attestation_required", message: expect.stringContaining("no longer has") as string });
  } finally {
    await second.close();
    rmSync(dataDir, { recursive: true });
  }
});
