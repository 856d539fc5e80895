import "reflect-metadata";
import { createHash, verify } from "node:crypto";
import * as asn1js from "asn1js";
import * as pkijs from "pkijs";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parseCertificate, type Certificate } from "../../../ca/pki/certificate.ts";
import {
  encodeBoolean, encodeDer, encodeExplicit, encodeNull, encodeOctetString, encodeOid, encodeSequence, encodeUnsignedInteger,
} from "../../../ca/pki/der-encoding.ts";
import { tag } from "../../../ca/pki/der-tag.ts";
import { keyBitsOf } from "../../../ca/pki/key.ts";
import { digestOid, extensionOid, extKeyUsageOid } from "../../../ca/pki/oid.ts";
import { auditEvents, chainOf, hourMs, newCsr, startTestCa, type TestCa } from "../../support/running-ca.ts";

const cart = { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart" } as const;
const address = "10.0.0.1";
let host: TestCa;
let looks = 0;
beforeAll(async () => {
  host = await startTestCa({ wrapStore: (store) => ({ ...store, certificate: (serialNumber) => ((looks += 1), store.certificate(serialNumber)) }) });
});
afterAll(() => host.close());

async function issue(): Promise<{ readonly serialNumber: string; readonly issuer: Certificate }> {
  const issued = await host.ca.issue({ csr: newCsr().csr, attestation: cart }, { caller: host.admin });
  return { serialNumber: issued.serialNumber, issuer: parseCertificate(chainOf(issued)[1]!) };
}

const sha = (digest: "sha1" | "sha256" | "sha512", data: Uint8Array) => createHash(digest).update(data).digest();

function certId(serialNumber: string, issuer: Pick<Certificate, "subject" | "spki">, digest: "sha1" | "sha256" = "sha1"): Uint8Array {
  return encodeSequence(
    encodeSequence(encodeOid(digestOid[digest]), encodeNull()), encodeOctetString(sha(digest, issuer.subject)), encodeOctetString(sha(digest, keyBitsOf(issuer.spki))),
    encodeUnsignedInteger(Buffer.from(serialNumber, "hex")),
  );
}

const nonceOf = (value: Uint8Array) => encodeSequence(encodeOid(extensionOid.ocspNonce), encodeOctetString(value));
const request = (certIds: readonly Uint8Array[], extensions: readonly Uint8Array[] = []) => encodeSequence(encodeSequence(
  encodeSequence(...certIds.map((each) => encodeSequence(each))),
  ...(extensions.length === 0 ? [] : [encodeExplicit(2, encodeSequence(...extensions))]),
));

/** What another library reads. */
function read(der: Uint8Array) {
  const response = pkijs.OCSPResponse.fromBER(Uint8Array.from(der));
  const status = response.responseStatus.valueBlock.valueDec;
  if (response.responseBytes === undefined) return { status, basic: undefined as never };
  return { status, basic: pkijs.BasicOCSPResponse.fromBER(response.responseBytes.response.valueBlock.valueHexView) };
}

const ask = async (certIds: readonly Uint8Array[], extensions: readonly Uint8Array[] = []) => read((await host.ca.ocsp(request(certIds, extensions), address)).der);
const errorOf = async (der: Uint8Array) => read((await host.ca.ocsp(der, address)).der).status;
const statusOf = (single: pkijs.SingleResponse): number => (single.certStatus as asn1js.AsnType).idBlock.tagNumber;
const [good, revoked, unknown] = [0, 1, 2];
const [malformedRequest, tryLater, unauthorized] = [1, 3, 6];

describe("an OCSP response", () => {
  test.each(["sha1", "sha256"] as const)("says good, then revoked at once with reason and time, of a certificate named by %s", async (digest) => {
    const { serialNumber, issuer } = await issue();
    const id = certId(serialNumber, issuer, digest);
    expect(statusOf((await ask([id])).basic.tbsResponseData.responses[0]!)).toBe(good);
    await host.ca.revoke(serialNumber, "keyCompromise", host.admin);
    const [single] = (await ask([id])).basic.tbsResponseData.responses;
    expect(statusOf(single!)).toBe(revoked);
    const [time, reason] = (single!.certStatus as asn1js.Constructed).valueBlock.value as [asn1js.GeneralizedTime, asn1js.Constructed];
    expect(time.toDate().getTime()).toBe(Math.floor(host.clock.nowMs / 1000) * 1000);
    expect((reason.valueBlock.value[0] as asn1js.Enumerated).valueBlock.valueDec).toBe(1);
  });

  test("is signed by a certificate that the issuer gave for this alone, and that nobody has to check", async () => {
    const { serialNumber, issuer } = await issue();
    const { basic } = await ask([certId(serialNumber, issuer)]);
    const signer = parseCertificate(new Uint8Array(basic.certs![0]!.toSchema().toBER()));
    expect(verify("sha256", signer.tbs, issuer.publicKey, signer.signature)).toBe(true);
    expect(signer.extendedKeyUsage?.purposes).toEqual([extKeyUsageOid.ocspSigning]);
    expect(Buffer.from(signer.tbs).includes(encodeOid(extensionOid.ocspNoCheck))).toBe(true);
    expect(signer.notAfterMs - host.clock.nowMs).toBeLessThanOrEqual(12 * hourMs);
    expect(verify("sha256", basic.tbsResponseData.tbsView, signer.publicKey, basic.signature.valueBlock.valueHexView)).toBe(true);
    const { responderID } = basic.tbsResponseData;
    expect(Buffer.from((responderID as asn1js.OctetString).valueBlock.valueHexView)).toEqual(sha("sha1", keyBitsOf(signer.spki)));
    expect(await auditEvents(host.store)).toContainEqual(expect.objectContaining({ type: "ocsp-signer.issued", serialNumber: signer.serialNumber, fingerprint: signer.fingerprint }));
  });

  test("never says good of what this CA did not issue", async () => {
    const { issuer } = await issue();
    expect(statusOf((await ask([certId("0123456789abcdef0123456789abcdef", issuer)])).basic.tbsResponseData.responses[0]!)).toBe(unknown);
    expect(statusOf((await ask([certId("01", issuer)])).basic.tbsResponseData.responses[0]!)).toBe(unknown);
  });

  test("never says good of what another issuer of ours issued", async () => {
    const old = await issue();
    host.clock.nowMs += 24 * hourMs;
    await host.ca.tick();
    const { issuer } = await issue();
    expect(issuer.fingerprint).not.toBe(old.issuer.fingerprint);
    expect(statusOf((await ask([certId(old.serialNumber, issuer)])).basic.tbsResponseData.responses[0]!)).toBe(unknown);
    expect(statusOf((await ask([certId(old.serialNumber, old.issuer)])).basic.tbsResponseData.responses[0]!)).toBe(good);
  });

  test("answers about several certificates, in their order", async () => {
    const [one, two] = [await issue(), await issue()];
    await host.ca.revoke(two.serialNumber, "unspecified", host.admin);
    const ids = [certId(two.serialNumber, two.issuer), certId(one.serialNumber, one.issuer), certId("77", one.issuer)];
    const { responses } = (await ask(ids)).basic.tbsResponseData;
    expect(responses.map(statusOf)).toEqual([revoked, good, unknown]);
    expect(responses.map((single) => Buffer.from(single.certID.toSchema().toBER()).toString("hex"))).toEqual(ids.map((id) => Buffer.from(id).toString("hex")));
  });

  test("sends back a nonce of 1 to 128 octets, and is then not kept", async () => {
    const { serialNumber, issuer } = await issue();
    const id = certId(serialNumber, issuer);
    for (const length of [1, 32, 128]) {
      const value = encodeOctetString(new Uint8Array(length).fill(7));
      const answer = await host.ca.ocsp(request([id], [nonceOf(value)]), address);
      expect(answer.nextUpdateMs).toBeUndefined();
      const [extension] = read(answer.der).basic.tbsResponseData.responseExtensions!;
      expect([extension!.extnID, Buffer.from(extension!.extnValue.valueBlock.valueHexView)]).toEqual([extensionOid.ocspNonce, Buffer.from(value)]);
    }
    expect(read((await host.ca.ocsp(request([id]), address)).der).basic.tbsResponseData.responseExtensions).toBeUndefined();
  });

  test("is signed once for many who ask, and anew at half of its time", async () => {
    const { serialNumber, issuer } = await issue();
    const der = request([certId(serialNumber, issuer)]);
    const first = await host.ca.ocsp(der, address);
    expect(await host.ca.ocsp(der, address)).toEqual(first);
    expect(first.nextUpdateMs! - first.thisUpdateMs!).toBe(hourMs);
    host.clock.nowMs += hourMs / 2 + 1000;
    expect((await host.ca.ocsp(der, address)).thisUpdateMs).toBeGreaterThan(first.thisUpdateMs!);
  });

  test("comes from another signer before the first one ends", async () => {
    const { serialNumber, issuer } = await issue();
    const before = host.clock.nowMs;
    const signerOf = async () => Buffer.from((await ask([certId(serialNumber, issuer)])).basic.certs![0]!.serialNumber.valueBlock.valueHexView).toString("hex");
    const first = await signerOf();
    host.clock.nowMs = before + 7 * hourMs;
    expect(await signerOf()).not.toBe(first);
  });
});

describe("what strangers may cost", () => {
  const withNonce = (id: Uint8Array) => request([id], [nonceOf(encodeOctetString(new Uint8Array(8)))]);
  const answered = async (count: number, der: Uint8Array, from: string) => {
    const answers = await Promise.all(Array.from({ length: count }, () => host.ca.ocsp(der, from)));
    return answers.filter((answer) => answer.der.length !== 5 || read(answer.der).status !== tryLater).length;
  };
  beforeEach(() => void (host.clock.nowMs += 5_000));

  test("what many ask about is looked up once a second, and anew after a revocation here", async () => {
    const { serialNumber, issuer } = await issue();
    const der = request([certId(serialNumber, issuer)]);
    await answered(1, der, address);
    looks = 0;
    expect(await answered(5_000, der, address)).toBe(5_000);
    expect(looks).toBe(0);
    host.clock.nowMs += 1000;
    expect(await answered(3, der, address)).toBe(3);
    expect(looks).toBeGreaterThan(0);
    await host.ca.revoke(serialNumber, "superseded", host.admin);
    expect(statusOf((await ask([certId(serialNumber, issuer)])).basic.tbsResponseData.responses[0]!)).toBe(revoked);
  });

  test("requests with a nonce are refused before a look: an address has half, and others are answered still", async () => {
    const { serialNumber, issuer } = await issue();
    const der = withNonce(certId(serialNumber, issuer));
    await answered(1, der, "10.0.0.9");
    looks = 0;
    expect(await answered(300, der, address)).toBe(250);
    expect(looks).toBe(250);
    expect(await answered(300, der, "10.0.0.2")).toBe(249);
    expect(await answered(1, der, "10.0.0.3")).toBe(0);
    // What can be kept is apart from that.
    expect(await answered(1, request([certId(serialNumber, issuer)]), address)).toBe(1);
    host.clock.nowMs += 1000;
    expect(await answered(1, der, address)).toBe(1);
  });

  test("each certificate of a request is a look: sixteen at once are counted as sixteen", async () => {
    const { serialNumber, issuer } = await issue();
    const der = request(Array.from({ length: 16 }, () => certId(serialNumber, issuer)));
    await answered(1, der, "10.0.0.9");
    looks = 0;
    expect(await answered(20, der, address)).toBe(15);
    expect(looks).toBe(15 * 16);
  });

  test("serial numbers that nobody was given are bounded as well, and push none of ours out of memory", async () => {
    const { serialNumber, issuer } = await issue();
    const known = request([certId(serialNumber, issuer)]);
    const first = await host.ca.ocsp(known, address);
    let refused = 0;
    for (let index = 0; index < 600; index++) {
      const made = await host.ca.ocsp(request([certId(`7${index.toString(16).padStart(31, "0")}`, issuer)]), address);
      if (made.der.length === 5) refused += 1;
    }
    expect(refused).toBe(101);
    expect((await host.ca.ocsp(known, address)).der).toEqual(first.der);
  });
});

describe("the responder refuses, as an OCSP error,", () => {
  test("a certificate of another issuer, also beside one of its own", async () => {
    const { serialNumber, issuer } = await issue();
    const root = parseCertificate((await host.store.authorities()).find(({ type }) => type === "root")!.certificate);
    const foreign = certId(serialNumber, root);
    expect(await errorOf(request([foreign]))).toBe(unauthorized);
    expect(await errorOf(request([certId(serialNumber, issuer), foreign]))).toBe(unauthorized);
    expect(await errorOf(request([certId(serialNumber, { subject: issuer.subject, spki: root.spki })]))).toBe(unauthorized);
  });

  const any = () => certId("01", { subject: encodeSequence(), spki: encodeSequence(encodeSequence(), encodeDer(tag.bitString, Uint8Array.of(0, 1))) });
  test.each<[string, () => Uint8Array]>([
    ["nothing", () => new Uint8Array()],
    ["what is no DER", () => Buffer.from("hello")],
    ["no certificate", () => request([])],
    ["more than 16", () => request(Array.from({ length: 17 }, any))],
    ["more than 4 KiB", () => request([any()], [encodeSequence(encodeOid("1.2.3"), encodeOctetString(new Uint8Array(4096)))])],
    ["a nonce of no octets", () => request([any()], [nonceOf(encodeOctetString(new Uint8Array()))])],
    ["a nonce of 129", () => request([any()], [nonceOf(encodeOctetString(new Uint8Array(129)))])],
    ["a nonce that is no OCTET STRING", () => request([any()], [nonceOf(Uint8Array.of(1, 2, 3))])],
    ["a critical extension it does not know", () => request([any()], [encodeSequence(encodeOid("1.2.3"), encodeBoolean(true), encodeOctetString(new Uint8Array(1)))])],
    ["a hash it does not know", () => request([encodeSequence(encodeSequence(encodeOid("2.16.840.1.101.3.4.2.3")), encodeOctetString(new Uint8Array(64)), encodeOctetString(new Uint8Array(64)), encodeUnsignedInteger(Uint8Array.of(1)))])],
    ["a negative serial number", () => request([encodeSequence(encodeSequence(encodeOid(digestOid.sha1)), encodeOctetString(new Uint8Array(20)), encodeOctetString(new Uint8Array(20)), encodeDer(tag.integer, Uint8Array.of(0x80)))])],
    ["another version", () => encodeSequence(encodeSequence(encodeExplicit(0, encodeDer(tag.integer, Uint8Array.of(1))), encodeSequence(encodeSequence(any()))))],
    ["bytes behind", () => Buffer.concat([request([any()]), Uint8Array.of(0)])],
  ])("%s", async (_, der) => {
    expect(await errorOf(der())).toBe(malformedRequest);
  });
});
