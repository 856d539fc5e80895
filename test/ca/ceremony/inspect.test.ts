import { createPublicKey, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createRoot, intermediateTbs } from "../../../ca/authority/create.ts";
import { crossTbs } from "../../../ca/authority/cross-sign.ts";
import { inspectRequest } from "../../../ca/ceremony/inspect.ts";
import { possessionStatement, readRequest, requestFormat, writeRequest, type CeremonyRequest } from "../../../ca/ceremony/request.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodePem } from "../../../ca/pki/pem.ts";
import { encodeTbs } from "../../../ca/pki/tbs.ts";
import { signatureAlgorithmFor, subjectKeyIdentifier } from "../../../ca/pki/key.ts";
import { softwareSigner } from "../../../ca/signer/software.ts";
import { dayMs, newKey } from "../../support/running-ca.ts";

const nowMs = Date.UTC(2026, 0, 1);
const base = { trustDomain: "east", keyAlgorithm: "ec-p256", clockSkewMs: 20_000, nowMs } as const;
const root = createRoot({ ...base, lifetimeMs: 3650 * dayMs });
const next = createRoot({ ...base, lifetimeMs: 3650 * dayMs });
const key = newKey();
const spki = createPublicKey(key).export({ format: "der", type: "spki" });
const pem = encodePem("CERTIFICATE", root.certificate.der);
const common = { format: requestFormat, trustDomain: "east", createdAt: new Date(nowMs).toISOString(), nonce: "00" } as const;

function intermediate(tbs: Uint8Array, overrides: object = {}): CeremonyRequest {
  const proof = sign("sha256", possessionStatement(tbs), key).toString("base64");
  return { ...common, kind: "intermediate", signer: pem, tbs: base64(tbs), proof, key: { kind: "sealed" }, ...overrides };
}

function cross(overrides: object = {}): CeremonyRequest {
  const tbs = crossTbs(next.certificate, root.certificate, base)!;
  return { ...common, kind: "cross-certificate", signer: pem, root: encodePem("CERTIFICATE", next.certificate.der), tbs: base64(tbs), ...overrides };
}

/** For east, to be signed by a root of west. */
function ofWestRoot(): CeremonyRequest {
  const west = createRoot({ ...base, trustDomain: "west", lifetimeMs: 3650 * dayMs });
  const tbs = intermediateTbs({ ...base, lifetimeMs: 365 * dayMs }, spki, west.certificate);
  return intermediate(tbs, { signer: encodePem("CERTIFICATE", west.certificate.der) });
}

/** An intermediate with one thing changed. */
function tbsWith({ pathLength = 1, uri = "spiffe://east", days = 365 }: { readonly pathLength?: number; readonly uri?: string; readonly days?: number }): Uint8Array {
  return encodeTbs({
    serialNumber: Uint8Array.from({ length: 17 }, () => 0x41), signatureAlgorithm: signatureAlgorithmFor(root.certificate.keyAlgorithm),
    issuer: root.certificate.subject, subject: next.certificate.subject, notBeforeMs: nowMs - 20_000, notAfterMs: nowMs + days * dayMs - 1000, spki,
    extensions: {
      basicConstraints: { certificateAuthority: true, pathLength }, keyUsage: ["keyCertSign", "crlSign"],
      authorityKeyIdentifier: root.certificate.subjectKeyIdentifier!, subjectKeyIdentifier: subjectKeyIdentifier(spki), subjectAltName: { uris: [uri] },
    },
  });
}

const good = intermediateTbs({ ...base, lifetimeMs: 365 * dayMs }, spki, root.certificate);

describe("what a root's key may be asked", () => {
  test.each<[string, CeremonyRequest]>([
    ["an intermediate", intermediate(good)],
    ["an intermediate whose parts are as ours", intermediate(tbsWith({}))],
    ["a cross certificate", cross()],
    ["a root", { ...common, kind: "root", lifetimeSeconds: 3650 * 86_400 }],
  ])("%s: says what it does, and signs exactly that", async (_, request) => {
    const { shown, sign: signIt } = await inspectRequest(readRequest(writeRequest(request).text).request, nowMs);
    expect(shown.join("\n")).toContain(request.kind === "cross-certificate" ? "vouch" : "east");
    const { der } = await signIt(softwareSigner(root.privateKey));
    const { tbs } = parseCertificate(der);
    if ("tbs" in request) expect(base64(tbs)).toBe(request.tbs);
  });

  test.each<[string, CeremonyRequest]>([
    ["an intermediate with room for two authorities below it", intermediate(tbsWith({ pathLength: 2 }))],
    ["an intermediate with room for none", intermediate(tbsWith({ pathLength: 0 }))],
    ["an intermediate of another trust domain", intermediate(tbsWith({ uri: "spiffe://west" }))],
    ["an intermediate for longer than five years", intermediate(tbsWith({ days: 5 * 366 + 1 }))],
    ["an intermediate that has ended", intermediate(tbsWith({ days: 0 }))],
    ["an intermediate whose key nobody showed to hold", intermediate(good, { proof: base64(sign("sha256", possessionStatement(good), newKey())) })],
    ["an intermediate whose proof is of another certificate", intermediate(good, { proof: base64(sign("sha256", possessionStatement(tbsWith({})), key)) })],
    ["a certificate by a root of another trust domain", intermediate(good, { trustDomain: "west" })],
    ["a certificate by a root of another trust domain that says it is of ours", ofWestRoot()],
    ["a certificate by a root that did not sign itself", intermediate(good, { signer: pem.replace(/.{8}\n-----END/, (end) => `AAAAAAAA${end.slice(8)}`) })],
    ["octets that are no certificate", intermediate(good, { tbs: "AAAA" })],
    ["a cross certificate that is an intermediate", cross({ tbs: base64(good) })],
    ["a cross certificate of another root than is shown", cross({ root: pem })],
    ["an intermediate that is a cross certificate", intermediate(crossTbs(next.certificate, root.certificate, base)!)],
    ["a root for 31 years", { ...common, kind: "root", lifetimeSeconds: 31 * 366 * 86_400 }],
    ["a root for an hour", { ...common, kind: "root", lifetimeSeconds: 3600 }],
    ["a CRL that is a certificate", { ...common, kind: "root-crl", signer: pem, tbs: base64(good) }],
  ])("not %s", async (_, request) => {
    await expect(inspectRequest(request, nowMs)).rejects.toMatchObject({ code: "request_refused" });
  });

  test("what it shows cannot move a terminal's cursor", async () => {
    const { shown } = await inspectRequest(intermediate(good, { key: { kind: "kms", keyId: "k" } }), nowMs);
    expect(shown.join("")).toMatch(/^[\x20-\x7e]*$/);
    const evil = (overrides: object) => () => readRequest(writeRequest(intermediate(good, overrides)).text);
    expect(evil({ key: { kind: "kms", keyId: "a\u001b[2Jb" } })).toThrow(expect.objectContaining({ code: "request_malformed" }));
    expect(evil({ createdAt: "\u001b[2J2026-01-01T00:00:00Z" })).toThrow(expect.objectContaining({ code: "request_malformed" }));
  });
});

describe("a request file", () => {
  const text = writeRequest(intermediate(good)).text;
  test.each([
    ["not JSON", "{"], ["a list", "[]"], ["another format", text.replace("ceremony-request/1", "ceremony-request/2")],
    ["another kind", text.replace('"intermediate"', '"leaf"')], ["a kind of every object's", text.replace('"intermediate"', '"constructor"')],
    ["a member that nobody shows", text.replace("{", '{"also": "this",')], ["a member too few", text.replace(/"nonce": "00",/, "")],
    ["a trust domain that is none", text.replace('"east"', '"EAST/"')], ["more than any request", text + " ".repeat(2_000_000)],
  ])("is refused for being %s", (_, altered) => {
    expect(() => readRequest(altered)).toThrow(expect.objectContaining({ code: "request_malformed" }));
  });
});

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
