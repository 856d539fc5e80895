import { hash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { askForIntermediate } from "../../../ca/ceremony/ask.ts";
import { readConfig, type CaConfig } from "../../../ca/config/config.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeNull, encodeOctetString, encodeOid, encodeSequence, encodeUnsignedInteger } from "../../../ca/pki/der-encoding.ts";
import { keyBitsOf } from "../../../ca/pki/key.ts";
import { digestOid } from "../../../ca/pki/oid.ts";
import { auditEvents, dayMs, hourMs, newCsr, startTestCa, type TestCa, type TestCaOptions } from "../../support/running-ca.ts";

const running: TestCa[] = [];
const folders: string[] = [];
afterEach(async () => {
  for (const host of running.splice(0)) await host.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A CA that has a fault since it started, or from the start on, that no setting lets in: what it would sign is against the rules. */
async function startFaulty(fault: Partial<CaConfig>, options: TestCaOptions = {}, first: Partial<CaConfig> = {}): Promise<TestCa> {
  const dataDir = mkdtempSync(join(tmpdir(), "countersign-lint-"));
  folders.push(dataDir);
  const config = { ...readConfig({ file: { trustDomain: "east", dataDir } }), ...first };
  const host = await startTestCa({ dataDir, ...options, deps: { config } });
  running.push(host);
  Object.assign(config, fault);
  return host;
}

/** Denials are written behind the answer. */
const refusals = async (host: TestCa) => {
  await expect.poll(async () => (await auditEvents(host.store)).some(({ type }) => type === "lint.failed"), { timeout: 20_000 }).toBe(true);
  return (await auditEvents(host.store)).filter(({ type }) => type === "lint.failed");
};
const issue = (host: TestCa) => host.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/web" } }, { caller: host.admin });
const idsOf = async (host: TestCa, type: string) => (await host.store.authorities()).filter((row) => row.type === type).map(({ id }) => id);

describe("what the lint refuses is not signed, and is in the audit log with its rules:", () => {
  test("a root that an operator asks for", async () => {
    const host = await startFaulty({ trustDomain: "no domain" });
    await expect(host.ca.operateAuthority({ action: "prepare" }, host.admin)).rejects.toMatchObject({ code: "lint_failed" });
    expect(await refusals(host)).toMatchObject([{ actor: host.admin.actor, artefact: "certificate", kind: "root", rules: expect.arrayContaining([expect.objectContaining({ id: "CERT-16", citation: expect.stringContaining("RFC 5280") })]) }]);
    expect(await idsOf(host, "root")).toHaveLength(1);
  });

  test("an issuer that is due, tried again and again and written once a minute", async () => {
    const host = await startFaulty({ statusUrl: "ftp://status.east" });
    const before = await idsOf(host, "issuer");
    host.clock.nowMs += 24 * hourMs;
    await host.ca.tick();
    await host.ca.tick();
    expect(await refusals(host)).toMatchObject([{ actor: "system", artefact: "certificate", kind: "issuer" }]);
    host.clock.nowMs += 61_000;
    await host.ca.tick();
    await expect.poll(() => refusals(host), { timeout: 20_000 }).toHaveLength(2);
    expect(await idsOf(host, "issuer")).toEqual(before);
  });

  test("a CRL that somebody asks for", async () => {
    // As if two rows were about one certificate.
    const host = await startFaulty({}, { wrapStore: (store) => ({ ...store, revocations: async (query) => (await store.revocations(query)).flatMap((row) => [row, row]) }) });
    const { serialNumber } = await issue(host);
    await host.ca.revoke(serialNumber, "superseded", host.admin);
    const [issuer = ""] = await idsOf(host, "issuer");
    await expect(host.ca.crl(issuer, "full.crl")).rejects.toMatchObject({ code: "lint_failed" });
    expect(await refusals(host)).toMatchObject([{ actor: "system", artefact: "crl", rules: [{ id: "CRL-06" }] }]);
    expect(await host.store.crls()).toEqual([]);
    expect((await issue(host)).chain).toContain("BEGIN CERTIFICATE");
  });

  test("an OCSP response", async () => {
    const host = await startFaulty({}, {}, { ocspLifetimeMs: -hourMs });
    const issuer = parseCertificate((await host.store.authorities()).find(({ type }) => type === "issuer")!.certificate);
    const sha1 = (data: Uint8Array) => encodeOctetString(hash("sha1", data, "buffer"));
    const certId = encodeSequence(
      encodeSequence(encodeOid(digestOid.sha1), encodeNull()), sha1(issuer.subject), sha1(keyBitsOf(issuer.spki)), encodeUnsignedInteger(Uint8Array.of(1)),
    );
    await host.ca.ocsp(encodeSequence(encodeSequence(encodeSequence(encodeSequence(certId)))), "10.0.0.1");
    expect(await refusals(host)).toMatchObject([{ actor: "system", artefact: "ocsp-response" }]);
  });

  test("an intermediate that an offline root is to be asked for", async () => {
    const host = await startFaulty({});
    const rows = (await host.store.authorities()).map((row) => row.type === "root" ? { ...row, key: { kind: "offline" } as const } : row);
    const store = { ...host.store, authorities: async () => rows };
    const config = { ...readConfig({ file: { trustDomain: "east" } }), statusUrl: "ftp://status.east" };
    const deps = { store, config, sealing: undefined as never, signers: undefined as never, now: () => new Date(host.clock.nowMs) };
    await expect(askForIntermediate(deps, { kind: "sealed" }, 90 * dayMs)).rejects.toMatchObject({ code: "lint_failed" });
    expect(await refusals(host)).toMatchObject([{ actor: "system", artefact: "certificate", kind: "intermediate" }]);
    expect(await host.store.ceremonies({ limit: 9 })).toEqual([]);
  });
});
