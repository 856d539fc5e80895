import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { IssuedIssuer, IssueIssuerRequest } from "../../../ca/contract/issuers.ts";
import { parseBundle, type Bundle } from "../../../ca/pki/bundle.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeCsr } from "../../../ca/pki/csr.ts";
import { parseIpAddress } from "../../../ca/pki/ip-address.ts";
import { signatureAlgorithmFor, subjectKeyIdentifier } from "../../../ca/pki/key.ts";
import { validatePath } from "../../../ca/pki/path.ts";
import { decodePem, encodePem } from "../../../ca/pki/pem.ts";
import { verifySvid } from "../../../ca/pki/svid.ts";
import { emptyName, encodeCertificate, encodeName, encodeTbs } from "../../../ca/pki/tbs.ts";
import { softwareSigner } from "../../../ca/signer/software.ts";
import { openssl, opensslAvailable } from "../../support/openssl.ts";
import { auditEvents, callerWith, hourMs, newCsr, newKey, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { testAuthority } from "../../support/test-ca.ts";

let host: TestCa;
beforeAll(async () => {
  host = await startTestCa();
});
afterAll(() => host.close());

interface Signed extends IssuedIssuer {
  readonly privateKey: KeyObject;
}

async function sign(request: Partial<IssueIssuerRequest> = {}, privateKey: KeyObject = newKey()): Promise<Signed> {
  const { csr } = newCsr(privateKey);
  return { ...await host.ca.issueIssuer({ csr, profile: "countersign", trustDomain: "west", ...request }, host.admin), privateKey };
}

interface LeafNames {
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly Uint8Array[];
}

/** What the holder of an issuer's key can sign, whether or not it may. */
function leafBy({ chain, privateKey }: Pick<Signed, "chain" | "privateKey">, names: LeafNames, authorityKey?: KeyObject): Uint8Array {
  const authority = authorityKey !== undefined;
  const issuer = parseCertificate(decodePem(chain, "CERTIFICATE")[0]!);
  const signer = softwareSigner(privateKey);
  const spki = createPublicKey(authorityKey ?? newKey()).export({ format: "der", type: "spki" });
  const signatureAlgorithm = signatureAlgorithmFor(signer.keyAlgorithm);
  const nowMs = Math.floor(host.clock.nowMs / 1000) * 1000;
  const tbs = encodeTbs({
    serialNumber: new Uint8Array(16).fill(0x55), signatureAlgorithm, issuer: issuer.subject, subject: authority ? encodeName({ commonName: "below" }) : emptyName,
    notBeforeMs: nowMs, notAfterMs: nowMs + hourMs, spki,
    extensions: {
      basicConstraints: { certificateAuthority: authority }, keyUsage: authority ? ["keyCertSign", "crlSign"] : ["digitalSignature"],
      ...(!authority && { extKeyUsage: ["serverAuth", "clientAuth"] }),
      authorityKeyIdentifier: issuer.subjectKeyIdentifier!, subjectKeyIdentifier: subjectKeyIdentifier(spki), subjectAltName: names,
    },
  });
  return encodeCertificate(tbs, signatureAlgorithm, signer.sign(tbs));
}

/** As a stranger with our root as its anchor judges it. */
function verdict(signed: Signed, leaf: Uint8Array, more: readonly Uint8Array[] = []): string {
  const anchors = decodePem(signed.anchors, "CERTIFICATE").map(parseCertificate);
  try {
    validatePath({ leaf: parseCertificate(leaf), intermediates: [...decodePem(signed.chain, "CERTIFICATE"), ...more].map(parseCertificate), anchors, nowMs: host.clock.nowMs });
    return "ok";
  } catch (error) {
    return (error as { code: string }).code;
  }
}

function opensslVerdict(signed: Signed, leaf: Uint8Array): boolean {
  const args = ["verify", "-x509_strict", "-CAfile", "root.pem", "-untrusted", "issuer.pem", "leaf.pem"];
  return openssl(args, { "root.pem": signed.anchors, "issuer.pem": signed.chain, "leaf.pem": encodePem("CERTIFICATE", leaf) }).ok;
}

const linkerd = { profile: "linkerd", trustDomain: "cluster.local" } as const;
const linkerdName = "cart.shop.serviceaccount.identity.linkerd.cluster.local";

describe("an issuer for another CA", () => {
  test("is a CA with path length 0, named as its software wants it, for 48 h", async () => {
    const { chain, notBefore, notAfter, trustDomain } = await sign(linkerd);
    const certificates = decodePem(chain, "CERTIFICATE");
    expect(certificates).toHaveLength(1);
    const certificate = parseCertificate(certificates[0]!);
    expect(certificate.basicConstraints).toEqual({ critical: true, certificateAuthority: true, pathLength: 0 });
    expect(certificate.keyUsage).toMatchObject({ keyCertSign: true, crlSign: true, digitalSignature: false });
    expect(certificate.extendedKeyUsage).toBeUndefined();
    expect(certificate.subjectAltName).toMatchObject({ critical: false, uris: ["spiffe://cluster.local"], dnsNames: ["identity.linkerd.cluster.local"] });
    expect(certificate.nameConstraints?.permitted).toMatchObject({ dnsNames: ["identity.linkerd.cluster.local"], uris: [] });
    expect(Date.parse(notAfter) - Date.parse(notBefore)).toBe(48 * hourMs + 19_000);
    expect(trustDomain).toBe("cluster.local");
  });

  test.skipIf(!opensslAvailable)("is read by openssl with the name that linkerd looks for", async () => {
    const { chain } = await sign(linkerd);
    const { stdout } = openssl(["x509", "-in", "issuer.pem", "-noout", "-subject", "-ext", "nameConstraints,basicConstraints"], { "issuer.pem": chain });
    expect(stdout).toContain("CN = identity.linkerd.cluster.local");
    expect(stdout).toContain("CA:TRUE, pathlen:0");
    expect(stdout).toContain("DNS:identity.linkerd.cluster.local");
  });

  const cases: readonly (readonly [claim: string, request: Partial<IssueIssuerRequest>, names: LeafNames, expected: string])[] = [
    ["signs SPIFFE IDs of its trust domain", {}, { uris: ["spiffe://west/a"] }, "ok"],
    ["signs none of another", {}, { uris: ["spiffe://east/a"] }, "path_name_constraint_violated"],
    ["signs none of a subdomain", {}, { uris: ["spiffe://a.west/a"] }, "path_name_constraint_violated"],
    ["for linkerd signs linkerd's identities", linkerd, { dnsNames: [linkerdName] }, "ok"],
    ["for linkerd signs no other DNS names", linkerd, { dnsNames: ["payments.example"] }, "path_name_constraint_violated"],
    ["for linkerd signs no IP addresses", linkerd, { dnsNames: [linkerdName], ipAddresses: [parseIpAddress("10.0.0.1")] }, "path_name_constraint_violated"],
    ["for istio is free to", { profile: "istio", trustDomain: "mesh" }, { uris: ["spiffe://mesh/ns/a/sa/b"], dnsNames: ["a.b"] }, "ok"],
    ["is held to DNS domains where asked", { profile: "cert-manager", dnsDomains: ["shop.example"] }, { dnsNames: ["db.example"] }, "path_name_constraint_violated"],
  ];
  for (const [claim, request, names, expected] of cases) {
    test(`${claim}, say our validator${opensslAvailable ? " and openssl" : ""}`, async () => {
      const signed = await sign(request);
      const leaf = leafBy(signed, names);
      expect(verdict(signed, leaf)).toBe(expected);
      if (opensslAvailable) expect(opensslVerdict(signed, leaf)).toBe(expected === "ok");
    });
  }

  test("has no CA below it", async () => {
    const signed = await sign();
    const privateKey = newKey();
    const below = leafBy(signed, { uris: ["spiffe://west"] }, privateKey);
    const leaf = leafBy({ chain: encodePem("CERTIFICATE", below), privateKey }, { uris: ["spiffe://west/a"] });
    expect(verdict(signed, leaf, [below])).toBe("path_length_exceeded");
    if (opensslAvailable) expect(opensslVerdict({ ...signed, chain: signed.chain + encodePem("CERTIFICATE", below) }, leaf)).toBe(false);
  });

  test("vouches for nobody of our own trust domain, whatever its constraints", async () => {
    const bundle: Bundle = parseBundle("east", host.ca.bundle().jwks);
    for (const profile of ["istio", "cert-manager"] as const) {
      const signed = await sign({ profile, trustDomain: "mesh" });
      const leaf = leafBy(signed, { uris: ["spiffe://east/ns/shop/sa/cart"] });
      expect(verdict(signed, leaf)).toBe("ok");
      const request = { chain: [leaf, ...decodePem(signed.chain, "CERTIFICATE")], bundles: new Map([["east", bundle]]), nowMs: host.clock.nowMs, purpose: "client" as const };
      expect(() => verifySvid(request)).toThrow(expect.objectContaining({ code: "svid_issuer_trust_domain" }));
    }
  });

  test("is in the log as a certificate and, behind it, as an issuer", async () => {
    const { serialNumber, logIndex } = await sign();
    const events = await auditEvents(host.store);
    expect(events[logIndex]).toMatchObject({ type: "certificate.issued", serialNumber, spiffeId: "spiffe://west", attestation: "issuer", actor: host.admin.actor });
    expect(events[logIndex + 1]).toMatchObject({ type: "issuer.issued", serialNumber, trustDomain: "west", profile: "countersign", pathLength: 0, permittedUris: ["west"] });
  });

  test("is revoked as any certificate is", async () => {
    const { serialNumber } = await sign();
    await host.ca.revoke(serialNumber, "cessationOfOperation", host.admin);
    const revoked = await host.store.revocations({ after: 0, limit: 100 });
    expect(revoked.map((row) => row.serialNumber)).toContain(serialNumber);
  });
});

describe("an operator that may have issuers signed for a trust domain", () => {
  const ask = async (request: Partial<IssueIssuerRequest>, dnsScope?: readonly string[]): Promise<Signed> => {
    const privateKey = newKey();
    const caller = callerWith({ issuerScope: ["cluster.local"], ...(dnsScope && { dnsScope }) });
    return { ...await host.ca.issueIssuer({ csr: newCsr(privateKey).csr, profile: "cert-manager", trustDomain: "cluster.local", ...request }, caller), privateKey };
  };

  test.each(["countersign", "istio", "cert-manager"] as const)("gets none for %s that gives DNS names or addresses, unless its scope has them", async (profile) => {
    const signed = await ask({ profile });
    expect(verdict(signed, leafBy(signed, { uris: ["spiffe://cluster.local/a"] }))).toBe("ok");
    for (const names of [{ dnsNames: ["db.example"] }, { ipAddresses: [parseIpAddress("10.0.0.1")] }]) {
      const leaf = leafBy(signed, { uris: ["spiffe://cluster.local/a"], ...names });
      expect(verdict(signed, leaf)).toBe("path_name_constraint_violated");
      if (opensslAvailable) expect(opensslVerdict(signed, leaf)).toBe(false);
    }
  });

  test("names only domains that its scope has with all below them", async () => {
    const signed = await ask({ dnsDomains: ["shop.example"] }, ["*.example"]);
    expect(verdict(signed, leafBy(signed, { dnsNames: ["db.shop.example"] }))).toBe("ok");
    expect(verdict(signed, leafBy(signed, { dnsNames: ["db.example"] }))).toBe("path_name_constraint_violated");
    await expect(ask({ dnsDomains: ["shop.example"] }, ["shop.example", "*.shop.example"])).resolves.toBeDefined();
    for (const dnsScope of [undefined, ["shop.example"], ["*.shop.example"], ["*.other.example"]]) {
      await expect(ask({ dnsDomains: ["shop.example"] }, dnsScope)).rejects.toMatchObject({ code: "forbidden" });
    }
  });

  test("needs no more for linkerd's identities", async () => {
    for (const request of [linkerd, { ...linkerd, dnsDomains: ["identity.linkerd.cluster.local"] }]) {
      const signed = await ask(request);
      expect(verdict(signed, leafBy(signed, { dnsNames: [linkerdName] }))).toBe("ok");
    }
  });

  test("has for one trust domain no right that it has for another", async () => {
    const caller = callerWith({ issuerScope: ["cluster.local", "north.example"], clusterScope: ["north.example"], unconstrainedScope: ["north.example"] });
    const asked = async (trustDomain: string): Promise<Signed> => {
      const privateKey = newKey();
      return { ...await host.ca.issueIssuer({ csr: newCsr(privateKey).csr, profile: "countersign", trustDomain }, caller), privateKey };
    };
    const [north, local] = [await asked("north.example"), await asked("cluster.local")];
    for (const names of [{ uris: ["spiffe://other/a"] }, { dnsNames: ["db.example"] }]) {
      expect([verdict(north, leafBy(north, names)), verdict(local, leafBy(local, names))]).toEqual(["ok", "path_name_constraint_violated"]);
    }
  });

  test("does not lift the URI constraint that its software takes", async () => {
    await expect(ask({ profile: "countersign", uriConstraint: false })).rejects.toMatchObject({ code: "forbidden" });
  });
});

describe("an issuer is not signed", () => {
  const refusals: readonly (readonly [claim: string, code: string, request: Partial<IssueIssuerRequest>, key?: KeyObject])[] = [
    ["for our own trust domain", "issuer_refused", { trustDomain: "east" }],
    ["for a trust domain that is none", "spiffe_id_refused", { trustDomain: "West/a" }],
    ["for linkerd with a URI constraint", "issuer_refused", { ...linkerd, uriConstraint: true }],
    ["for linkerd with a P-384 key", "csr_refused", linkerd, generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey],
    ["with a wildcard for a domain", "dns_name_refused", { dnsDomains: ["*.shop"] }],
    ["for longer than the ceiling", "lifetime_refused", { lifetimeSeconds: 31 * 86_400 }],
    ["for a second", "lifetime_refused", { lifetimeSeconds: 1 }],
    ["without a CSR", "csr_refused", { csr: "AAAA" }],
  ];
  for (const [claim, code, request, key] of refusals) {
    test(claim, async () => {
      await expect(sign(request, key)).rejects.toMatchObject({ code });
    });
  }

  test("without proof of the key", async () => {
    const [one, other] = [newCsr(), newCsr()].map(({ der }) => Buffer.from(der));
    const forged = Buffer.concat([one!.subarray(0, -64), other!.subarray(-64)]).toString("base64");
    await expect(sign({ csr: forged })).rejects.toMatchObject({ code: "csr_refused" });
  });

  test("twice for one key", async () => {
    const key = newKey();
    await sign({}, key);
    await expect(sign({}, key)).rejects.toMatchObject({ code: "key_reused" });
  });

  test("for the key of one of our own authorities", async () => {
    const root = testAuthority({ trustDomain: "east", notAfterMs: Date.now() + 3650 * 86_400_000 });
    const folder = mkdtempSync(join(tmpdir(), "countersign-own-key-"));
    const [rootCert, rootKey] = ["root.pem", "root.key"].map((name) => join(folder, name)) as [string, string];
    writeFileSync(rootCert, root.pem);
    writeFileSync(rootKey, root.privateKey.export({ format: "pem", type: "pkcs8" }), { mode: 0o600 });
    const own = await startTestCa({ settings: { rootCert, rootKey } });
    try {
      const request = { csr: newCsr(root.privateKey).csr, profile: "istio", trustDomain: "west" } as const;
      await expect(own.ca.issueIssuer(request, own.admin)).rejects.toMatchObject({ code: "csr_refused", message: expect.stringContaining("one of this CA's authorities") });
    } finally {
      await own.close();
      rmSync(folder, { recursive: true });
    }
  });

  test("for an auditor, or an operator without the scope for it", async () => {
    const ask = (caller: Parameters<typeof host.ca.issueIssuer>[1]) => host.ca.issueIssuer({ csr: newCsr().csr, profile: "istio", trustDomain: "west" }, caller);
    await expect(ask(callerWith({ role: "auditor", issuerScope: ["west"] }))).rejects.toMatchObject({ code: "forbidden" });
    await expect(ask(callerWith({ scope: ["spiffe://east/*"] }))).rejects.toMatchObject({ code: "forbidden" });
    await expect(ask(callerWith({ issuerScope: ["mesh"] }))).rejects.toMatchObject({ code: "forbidden" });
    expect((await ask(callerWith({ issuerScope: ["west"] }))).trustDomain).toBe("west");
  });

  test("again for the same Idempotency-Key: the retry gets the first one", async () => {
    const request = { csr: Buffer.from(encodeCsr({ privateKey: newKey() })).toString("base64"), profile: "istio", trustDomain: "west" } as const;
    const first = await host.ca.issueIssuer(request, host.admin, "once");
    expect(await host.ca.issueIssuer(request, host.admin, "once")).toEqual(first);
    await expect(host.ca.issueIssuer({ ...request, trustDomain: "mesh" }, host.admin, "once")).rejects.toMatchObject({ code: "idempotency_key_reused" });
  });

  test("that would outlive the root", async () => {
    const short = await startTestCa({ settings: { rootLifetime: "10d", foreignIssuerLifetimeMax: "30d" } });
    try {
      const ask = (lifetimeSeconds: number) => short.ca.issueIssuer({ csr: newCsr().csr, profile: "istio", trustDomain: "west", lifetimeSeconds }, short.admin);
      await expect(ask(11 * 86_400)).rejects.toMatchObject({ code: "lifetime_refused" });
      expect((await ask(9 * 86_400)).trustDomain).toBe("west");
    } finally {
      await short.close();
    }
  });
});
