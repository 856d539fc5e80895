import { generateKeyPairSync } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readConfig } from "../../../ca/config/config.ts";
import type { Attestation } from "../../../ca/contract/attestation.ts";
import type { IssuedCertificate } from "../../../ca/contract/certificates.ts";
import { parseCertificate, type Certificate } from "../../../ca/pki/certificate.ts";
import { revocationInfoOf } from "../../../ca/pki/revocation-info.ts";
import { auditEvents, callerWith, chainOf, hourMs, newCsr, newKey, proofFor, startTestCa, type TestCa } from "../../support/running-ca.ts";

const profiles = {
  database: {
    spiffeIds: ["spiffe://east/ns/db/*"], lifetime: "2h", lifetimeMax: "4h", keyAlgorithms: ["ec-p256"], dnsNames: ["*.db.svc"], ipRanges: ["10.0.0.0/8", "fd00::/8"],
  },
  primary: { spiffeIds: ["spiffe://east/ns/db/sa/primary"], lifetime: "1h", noRevAvail: true },
  batch: { spiffeIds: ["spiffe://east/ns/batch/*"], attestations: ["join-token"], lifetime: "30m" },
};
let host: TestCa;
beforeAll(async () => {
  host = await startTestCa({ env: { COUNTERSIGN_PROFILES: JSON.stringify(profiles) } });
});
afterAll(() => host.close());

const ask = (path: string, more: Partial<Extract<Attestation, { type: "operator" }>> = {}, key = newKey(), lifetimeSeconds?: number): Promise<IssuedCertificate> =>
  host.ca.issue(
    { csr: newCsr(key).csr, attestation: { type: "operator", spiffeId: `spiffe://east${path}`, ...more }, ...(lifetimeSeconds !== undefined && { lifetimeSeconds }) },
    { caller: host.admin },
  );
const leafOf = (issued: Pick<IssuedCertificate, "chain">): Certificate => parseCertificate(chainOf(issued)[0]!);
const lifetimeMs = ({ notBefore, notAfter }: IssuedCertificate): number => Date.parse(notAfter) + 1000 - Date.parse(notBefore) - 20_000;

describe("a certificate has the profile", () => {
  test("that claims its ID, the most exact one, and otherwise that of everybody", async () => {
    expect(lifetimeMs(await ask("/ns/db/sa/replica"))).toBe(2 * hourMs);
    expect(lifetimeMs(await ask("/ns/db/sa/primary"))).toBe(hourMs);
    expect(lifetimeMs(await ask("/ns/shop/sa/cart"))).toBe(24 * hourMs);
    expect(lifetimeMs(await ask("/ns/dbx/sa/a"))).toBe(24 * hourMs);
  });

  test("of the attestation its line began with, also when it is renewed", async () => {
    const spiffeId = "spiffe://east/ns/batch/sa/job";
    expect(lifetimeMs(await ask("/ns/batch/sa/job"))).toBe(24 * hourMs);
    const { token } = await host.ca.createToken({ type: "join", spiffeId }, host.admin);
    const first = newCsr();
    const held = await host.ca.issue({ csr: first.csr, attestation: { type: "join-token", token } }, {});
    expect(lifetimeMs(held)).toBe(hourMs / 2);
    const next = newCsr();
    const proof = proofFor(held, first.privateKey, next.der, host.clock.nowMs);
    expect(lifetimeMs(await host.ca.issue({ csr: next.csr, attestation: { type: "svid", proof } }, {}))).toBe(hourMs / 2);
  });

  test("named in the audit log, unless it is everybody's", async () => {
    const [named, other] = [await ask("/ns/db/sa/a"), await ask("/ns/shop/sa/b")];
    const events = await auditEvents(host.store);
    expect(events[named.logIndex]).toMatchObject({ profile: "database" });
    expect(events[other.logIndex]).not.toHaveProperty("profile");
  });

  test("whose extensions it has", async () => {
    const leaf = leafOf(await ask("/ns/db/sa/primary"));
    expect(leaf.noRevocationAvailable).toBe(true);
    expect(revocationInfoOf(leaf).crlUrls).toEqual([]);
    expect(leafOf(await ask("/ns/db/sa/b")).noRevocationAvailable).not.toBe(true);
  });
});

test("certificates of a profile need not say where their CRL and OCSP are, while everybody else's do", async () => {
  const quiet = await startTestCa({
    settings: { statusUrl: "http://status.east" }, env: { COUNTERSIGN_PROFILES: JSON.stringify({ quiet: { spiffeIds: ["spiffe://east/quiet/*"], revocationInfo: false } }) },
  });
  try {
    const infoOf = async (path: string) => revocationInfoOf(leafOf(await quiet.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: `spiffe://east${path}` } }, { caller: quiet.admin })));
    expect(await infoOf("/quiet/a")).toMatchObject({ crlUrls: [], ocspUrls: [] });
    expect((await infoOf("/loud/a")).crlUrls).toHaveLength(1);
  } finally {
    await quiet.close();
  }
});

describe("a profile does not permit", () => {
  const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey;
  const refusals: readonly (readonly [claim: string, code: string, act: () => Promise<unknown>])[] = [
    ["a longer lifetime", "lifetime_refused", () => ask("/ns/db/sa/a", {}, newKey(), 5 * 3600)],
    ["another kind of key", "csr_refused", () => ask("/ns/db/sa/a", {}, p384)],
    ["another DNS name", "dns_name_refused", () => ask("/ns/db/sa/a", { dnsNames: ["cart.shop.svc"] })],
    // GHSA-59w7: the pattern must not become the name.
    ["a wildcard, though its pattern has one", "dns_name_refused", () => ask("/ns/db/sa/a", { dnsNames: ["*.db.svc"] })],
    ["a glob", "dns_name_refused", () => ask("/ns/db/sa/a", { dnsNames: ["a*.db.svc"] })],
    ["an IP address outside its ranges", "ip_address_refused", () => ask("/ns/db/sa/a", { ipAddresses: ["10.0.0.1", "192.168.0.1"] })],
    ["an IP address that is none", "ip_address_refused", () => ask("/ns/db/sa/a", { ipAddresses: ["10.0.0.1/8"] })],
    ["any IP address where it has no ranges", "ip_address_refused", () => ask("/ns/shop/sa/a", { ipAddresses: ["10.0.0.1"] })],
  ];
  for (const [claim, code, act] of refusals) {
    test(claim, async () => {
      await expect(act()).rejects.toMatchObject({ code });
    });
  }

  test("an operator to give IP addresses at all", async () => {
    const caller = callerWith({ scope: ["spiffe://east/*"] });
    const request = { csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/db/sa/a", ipAddresses: ["10.0.0.1"] } } as const;
    await expect(host.ca.issue(request, { caller })).rejects.toMatchObject({ code: "forbidden" });
  });

  // GHSA-g892-p242-8g86: the ranges were asked of the request, and not of what went into the certificate.
  test("an address in the certificate that its ranges do not have: what was asked for is what is in it, and no more", async () => {
    const issued = await ask("/ns/db/sa/a", { dnsNames: ["a.db.svc"], ipAddresses: ["10.1.2.3", "fd00::1"] });
    const { subjectAltName } = leafOf(issued);
    expect(subjectAltName?.ipAddresses.map((address) => [...address].join("."))).toEqual(["10.1.2.3", "253.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1"]);
    expect(subjectAltName?.dnsNames).toEqual(["a.db.svc"]);
  });

  test("a renewal to keep an address when its ranges were narrowed", async () => {
    const key = newKey();
    const held = await ask("/ns/db/sa/a", { ipAddresses: ["10.1.2.3"] }, key);
    const renew = (ca: TestCa["ca"]): Promise<IssuedCertificate> => {
      const next = newCsr();
      return ca.issue({ csr: next.csr, attestation: { type: "svid", proof: proofFor(held, key, next.der, host.clock.nowMs) } }, {});
    };
    expect(leafOf(await renew(host.ca)).subjectAltName?.ipAddresses).toHaveLength(1);
    const narrowed = await startTestCa({
      dataDir: host.dataDir, nowMs: host.clock.nowMs, env: { COUNTERSIGN_PROFILES: JSON.stringify({ database: { ...profiles.database, ipRanges: ["10.9.0.0/16"] } }) },
    });
    try {
      await expect(renew(narrowed.ca)).rejects.toMatchObject({ code: "ip_address_refused" });
    } finally {
      await narrowed.close();
    }
  });
});

// GHSA-7ccv: two certificates of one identity are not each other's.
test("a renewal with a sibling's certificate is refused", async () => {
  const spiffeId = "spiffe://east/ns/shop/sa/twin";
  const join = async () => {
    const { token } = await host.ca.createToken({ type: "join", spiffeId }, host.admin);
    const { csr, privateKey } = newCsr();
    return { token, privateKey, held: await host.ca.issue({ csr, attestation: { type: "join-token", token } }, {}) };
  };
  const [one, other] = [await join(), await join()];
  const next = newCsr();
  const stolen = proofFor(one.held, other.privateKey, next.der, host.clock.nowMs);
  await expect(host.ca.issue({ csr: next.csr, attestation: { type: "svid", proof: stolen } }, {})).rejects.toMatchObject({ code: "proof_refused" });
  const siblings = proofFor(other.held, other.privateKey, next.der, host.clock.nowMs);
  await expect(host.ca.issue({ csr: next.csr, attestation: { type: "join-token", token: one.token, proof: siblings } }, {})).rejects.toMatchObject({ code: "proof_refused" });
});

describe("profiles are read", () => {
  test("from the file as they are, and from the environment as JSON", () => {
    const file = { trustDomain: "east", profiles } as Record<string, unknown>;
    const names = (config: ReturnType<typeof readConfig>) => config.profiles.map(({ name }) => name);
    expect(names(readConfig({ file }))).toEqual(["database", "primary", "batch"]);
    expect(names(readConfig({ file, env: { COUNTERSIGN_PROFILES: "{}" } }))).toEqual([]);
  });

  test("and everything that is wrong with them is said at once", () => {
    const wrong = {
      "Bad Name": { spiffeIds: ["spiffe://west/*"], lifetme: "1h" },
      one: { spiffeIds: ["spiffe://east/a/*"], lifetime: "5h", lifetimeMax: "4h", keyAlgorithms: ["dsa"], dnsNames: ["*"], ipRanges: ["10.0.0.1/8"], noRevAvail: "yes", attestations: ["svid"], extKeyUsage: ["serverAuth"], revocationInfo: 1 },
      two: { spiffeIds: ["spiffe://east/b/*"], lifetimeMax: "30h" }, three: { spiffeIds: ["spiffe://east/b/*"] }, four: {}, five: [],
      six: { spiffeIds: ["spiffe://east/c/*"], noRevAvail: true, revocationInfo: true, extKeyUsage: ["clientAuth", "serverAuth"] },
    };
    const message = ((): string => {
      try {
        readConfig({ file: { trustDomain: "east", profiles: wrong } });
        return "";
      } catch (error) {
        return (error as Error).message;
      }
    })();
    for (const part of [
      "Bad Name", "spiffe://west/*", "did you mean lifetime?", "one.lifetime is longer", "one.keyAlgorithms", "one.dnsNames", "one.ipRanges", "one.noRevAvail", "one.attestations",
      "one.extKeyUsage is serverAuth and clientAuth", "one.revocationInfo is neither", "six.revocationInfo and noRevAvail exclude each other",
      "two.lifetimeMax is not shorter than issuerRenewBefore", "two and three both claim spiffe://east/b/* by operator", "four.spiffeIds is missing", "five is no object",
    ]) expect(message).toContain(part);
    expect(message).not.toContain("six.extKeyUsage");
  });

  test.each([
    ["that says it", "off", { noRevAvail: true }, /quiet\.lifetimeMax is not below 7d/], ["that follows the setting", "on", {}, /quiet\.lifetimeMax is not below 7d/],
    ["that does not", "on", { noRevAvail: false }, undefined],
  ] as const)("without revocation only for less than a week: of a profile %s", (_which, noRevAvail, quiet, refusal) => {
    const file = { noRevAvail, issuerLifetime: "60d", issuerRenewBefore: "40d", profiles: { quiet: { spiffeIds: ["spiffe://countersign.local/*"], lifetimeMax: "30d", ...quiet } } };
    if (refusal === undefined) expect(readConfig({ file }).profiles).toHaveLength(1);
    else expect(() => readConfig({ file })).toThrow(refusal);
  });

  test.each(["[]", "{", "3"])("not from %s", (text) => {
    expect(() => readConfig({ env: { COUNTERSIGN_PROFILES: text } })).toThrow(expect.objectContaining({ code: "value_refused" }));
  });
});
