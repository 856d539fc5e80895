import { describe, expect, test } from "vitest";
import { dueCeremonies } from "../../../ca/ceremony/due.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeCrl, encodeRevokedCertificate, encodeTbsCrl } from "../../../ca/pki/crl-encoding.ts";
import { encodeExtensions } from "../../../ca/pki/extension-encoding.ts";
import { signData } from "../../../ca/pki/key.ts";
import type { AuthorityRow } from "../../../ca/store/rows/authorities.ts";
import { dayMs } from "../../support/running-ca.ts";
import { testAuthority, type TestAuthority } from "../../support/test-ca.ts";

const nowMs = Date.UTC(2026, 0, 1);

function row(id: string, overrides: Partial<AuthorityRow> & { readonly leftDays?: number; readonly lifeDays?: number }): AuthorityRow {
  const { leftDays = 300, lifeDays = 365, ...rest } = overrides;
  const notAfterMs = nowMs + leftDays * dayMs;
  return {
    id, type: "intermediate", state: "active", certificate: new Uint8Array(), key: { kind: "sealed", sealed: new Uint8Array() }, lastNotAfterMs: 0,
    stateSinceMs: 0, notBeforeMs: notAfterMs - lifeDays * dayMs, notAfterMs, createdAtMs: 0, ...rest,
  };
}

const root = row("root", { type: "root", key: { kind: "offline" }, leftDays: 3000, lifeDays: 3650 });
const oldRoot = row("root", { type: "root", key: { kind: "offline" }, leftDays: 600, lifeDays: 3650 });
const good = row("i", { parentId: "root" });

describe("what is due of an offline root", () => {
  test.each<[string, readonly AuthorityRow[], string[]]>([
    ["nothing, where all is young", [root, good], []],
    ["nothing, where the root signs by itself", [row("root", { type: "root", leftDays: 1 })], []],
    ["an intermediate, where there is none", [root], ["no intermediate"]],
    ["an intermediate, a quarter of its life before its end", [root, row("i", { parentId: "root", leftDays: 91 })], ["the intermediate i ends"]],
    ["nothing, where the next intermediate is there", [root, row("i", { parentId: "root", leftDays: 5 }), row("j", { parentId: "root", state: "prepared" })], []],
    ["an intermediate, where the one there is belongs to another root", [root, row("i", { parentId: "other" })], ["no intermediate"]],
    ["a root, a fifth of its life before its end", [oldRoot, good], ["the root root"]],
    ["nothing, where the next root is there", [oldRoot, good, row("next", { type: "root", state: "prepared" })], []],
  ])("%s", (_, rows, expected) => {
    const due = dueCeremonies(rows, undefined, nowMs);
    expect(due).toEqual(expected.map((part) => expect.stringContaining(part)));
  });

  test.each([["kms", { kind: "kms", keyId: "k" }], ["pkcs11", { kind: "pkcs11", uri: "u" }]] as const)("of one in %s a successor alone, which is made there", (kind, key) => {
    const due = dueCeremonies([{ ...oldRoot, key }], undefined, nowMs);
    expect(due).toEqual([expect.stringMatching(new RegExp(`request root, --key ${kind}:`))]);
    expect(dueCeremonies([{ ...root, key }], undefined, nowMs)).toEqual([]);
  });

  test("its CRL, a quarter of its life before its end", () => {
    const crl = { thisUpdateMs: nowMs - 70 * dayMs, nextUpdateMs: nowMs + 20 * dayMs };
    expect(dueCeremonies([root, good], crl, nowMs)).toEqual([expect.stringContaining("root-crl")]);
    expect(dueCeremonies([root, good], { ...crl, nextUpdateMs: nowMs + 40 * dayMs }, nowMs)).toEqual([]);
  });

  describe("its CRL, at once when an authority below it was revoked", () => {
    const signer = testAuthority({ trustDomain: "east" });
    const offline = row(Buffer.from(signer.keyIdentifier).toString("hex"), { type: "root", key: { kind: "offline" }, leftDays: 3000, lifeDays: 3650, certificate: signer.der });
    const revokedBy = (authority: TestAuthority, extraExtensions: readonly Uint8Array[] = []) => (
      row("gone", { parentId: offline.id, state: "revoked", certificate: authority.issuer({ extraExtensions }).der })
    );
    const running = [offline, row("i", { parentId: offline.id })];
    const crlOf = (...revoked: readonly AuthorityRow[]) => {
      const tbs = encodeTbsCrl({
        signatureAlgorithm: "ecdsa-sha256", issuer: parseCertificate(signer.der).subject, authorityKeyIdentifier: signer.keyIdentifier, number: 1,
        thisUpdateMs: nowMs - dayMs, nextUpdateMs: nowMs + 90 * dayMs, scope: { only: "authorities" },
        entries: revoked.map(({ certificate }) => encodeRevokedCertificate(parseCertificate(certificate).serialNumber, nowMs - dayMs, "cACompromise")),
      });
      return { thisUpdateMs: nowMs - dayMs, nextUpdateMs: nowMs + 90 * dayMs, crl: encodeCrl(tbs, "ecdsa-sha256", signData("ecdsa-sha256", signer.privateKey, tbs)) };
    };

    test("and is not on it", () => {
      const gone = revokedBy(signer);
      const { serialNumber } = parseCertificate(gone.certificate);
      expect(dueCeremonies([...running, gone], crlOf(), nowMs)).toEqual([expect.stringContaining(`does not list ${serialNumber}`)]);
      expect(dueCeremonies([...running, gone], crlOf(gone), nowMs)).toEqual([]);
      expect(dueCeremonies([...running, gone], crlOf(), nowMs + 8000 * dayMs)).not.toEqual(expect.arrayContaining([expect.stringContaining("does not list")]));
    });

    test("unless another root signed it", () => {
      expect(dueCeremonies([...running, revokedBy(testAuthority({ trustDomain: "east" }))], crlOf(), nowMs)).toEqual([]);
    });

    test("and there is no CRL yet, where its certificate names one", () => {
      const point = encodeExtensions({ revocationInfo: { crlUrl: "http://status.east/crl/x/authorities.crl" } }, false);
      expect(dueCeremonies([...running, revokedBy(signer, point)], undefined, nowMs)).toEqual([expect.stringContaining("root-crl")]);
      expect(dueCeremonies([...running, revokedBy(signer)], undefined, nowMs)).toEqual([]);
    });
  });
});
