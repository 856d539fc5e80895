import { createPrivateKey } from "node:crypto";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { unsealAuthority } from "../../../ca/authority/active-issuer.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeCrl, encodeTbsCrl } from "../../../ca/pki/crl-encoding.ts";
import { parseCrl } from "../../../ca/pki/crl.ts";
import { signData } from "../../../ca/pki/key.ts";
import { crlPublisher, type CrlPublisher } from "../../../ca/revocation/crl-publisher.ts";
import { loadSealing } from "../../../ca/signer/sealing.ts";
import type { AuthorityRow } from "../../../ca/store/rows/authorities.ts";
import { auditEvents, dayMs, startTestCa, type TestCa } from "../../support/running-ca.ts";

let host: TestCa;
let publisher: CrlPublisher;
let rows: readonly AuthorityRow[];
let root: AuthorityRow;
let rootKey: ReturnType<typeof createPrivateKey>;
beforeAll(async () => {
  host = await startTestCa();
});
afterAll(() => host.close());
beforeEach(async () => {
  host.clock.nowMs += 2000;
  rows = await host.store.authorities();
  root = rows.find(({ type }) => type === "root")!;
  rootKey = unsealAuthority(root, loadSealing({ sealingKey: undefined, sealingKeyPath: join(host.dataDir, "sealing.key") }, { create: false })).privateKey;
  publisher = crlPublisher({
    store: host.store, authorities: () => rows, signerOf: () => undefined, lints: async (work) => work(), metrics: host.ca.metrics, log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    now: () => new Date(host.clock.nowMs), config: { crlLifetimeMs: dayMs, rootCrlLifetimeMs: dayMs, statusUrl: undefined },
  });
});
afterEach(() => publisher.close());

const sign = (tbs: Uint8Array) => encodeCrl(tbs, "ecdsa-sha256", signData("ecdsa-sha256", rootKey, tbs));
const requested = async () => (await publisher.ceremony.request(root.id, host.clock.nowMs + 90 * dayMs)).tbs;
const accept = (der: Uint8Array) => publisher.ceremony.accept(root.id, der, "token:ceremony");
/** Has the issuer taken for stolen, and revoked. */
async function revokeIssuer(): Promise<AuthorityRow> {
  const issuer = rows.find(({ type, state }) => type === "issuer" && state === "active")!;
  await host.ca.operateAuthority({ action: "taint", id: issuer.id }, host.admin);
  await host.ca.operateAuthority({ action: "revoke", id: issuer.id, force: true }, host.admin);
  rows = await host.store.authorities();
  return issuer;
}

describe("the CRL of a root whose key is offline", () => {
  test("is had by nobody before the first ceremony, and by everybody after it", async () => {
    await expect(publisher.current(root.id, "authorities.crl")).rejects.toMatchObject({ code: "issuer_unavailable" });
    const der = sign(await requested());
    await accept(der);
    expect(Buffer.from((await publisher.current(root.id, "authorities.crl"))!.der)).toEqual(Buffer.from(der));
    expect((await auditEvents(host.store)).at(-1)).toMatchObject({ type: "crl.signed", actor: "token:ceremony", list: "authorities.crl", entries: 0 });
  });

  test("lists the issuers that were revoked, for compromise, and takes the place of the one before at once", async () => {
    await accept(sign(await requested()));
    await publisher.current(root.id, "authorities.crl");
    const revoked = await revokeIssuer();
    host.clock.nowMs += 2000;
    await accept(sign(await requested()));
    const crl = parseCrl((await publisher.current(root.id, "authorities.crl"))!.der);
    const issuer = parseCertificate(revoked.certificate);
    expect([...crl.entries.values()]).toMatchObject([{ serialNumber: issuer.serialNumber, reason: "cACompromise" }]);
  });

  describe("is not taken", () => {
    const other = async (change: object) => {
      const certificate = parseCertificate(root.certificate);
      const nowMs = host.clock.nowMs;
      return encodeTbsCrl({
        signatureAlgorithm: "ecdsa-sha256", issuer: certificate.subject, authorityKeyIdentifier: certificate.subjectKeyIdentifier!, number: nowMs, thisUpdateMs: nowMs - 1000,
        nextUpdateMs: nowMs + dayMs, scope: { only: "authorities" }, entries: [], ...change,
      });
    };
    test.each<[string, () => Promise<Uint8Array>]>([
      ["that is no CRL", async () => Uint8Array.of(1)],
      ["with a signature that is not the root's", async () => Buffer.concat([sign(await requested()).subarray(0, -8), Buffer.alloc(8)])],
      ["that is over", async () => sign(await other({ thisUpdateMs: host.clock.nowMs - 2000, nextUpdateMs: host.clock.nowMs - 1000 }))],
      ["from the future", async () => sign(await other({ thisUpdateMs: host.clock.nowMs + 5000 }))],
      ["about end entities", async () => sign(await other({ scope: { only: "end-entities" } }))],
      ["of another issuer", async () => sign(await other({ authorityKeyIdentifier: new Uint8Array(20) }))],
      ["with the number of the last one", async () => {
        const der = sign(await requested());
        await accept(der);
        return der;
      }],
      ["that lacks what was revoked since it was requested", async () => {
        const tbs = await requested();
        await revokeIssuer();
        return sign(tbs);
      }],
    ])("%s", async (_, made) => {
      const der = await made();
      await expect(accept(der)).rejects.toMatchObject({ code: "invalid_request" });
    });

    test("for an issuer, which signs its own", async () => {
      const issuer = rows.find(({ type }) => type === "issuer")!;
      await expect(publisher.ceremony.request(issuer.id, host.clock.nowMs + dayMs)).rejects.toMatchObject({ code: "not_found" });
    });
  });

  test("is served to its end though it no longer has everything, and not beyond", async () => {
    await accept(sign(await requested()));
    await revokeIssuer();
    host.clock.nowMs += 80 * dayMs;
    rows = rows.filter(({ type }) => type === "root");
    expect(await publisher.current(root.id, "authorities.crl")).toBeDefined();
    host.clock.nowMs += 11 * dayMs;
    await expect(publisher.current(root.id, "authorities.crl")).rejects.toMatchObject({ code: "issuer_unavailable" });
  });
});
