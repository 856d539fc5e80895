import { createPrivateKey, createPublicKey } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseBundle } from "../../../ca/pki/bundle.ts";
import { parseCertificate, type Certificate } from "../../../ca/pki/certificate.ts";
import { decodePem } from "../../../ca/pki/pem.ts";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import { verifySvid } from "../../../ca/pki/svid.ts";
import { outcomeOf } from "../../support/outcome.ts";

// Every row of the tables in test/vectors/README.md. The last test asks whether a file was left out.

const vectors = new URL("../../vectors/", import.meta.url);
const opened = new Set<string>();

function read(file: string): Buffer {
  opened.add(file);
  return readFileSync(new URL(file, vectors));
}

const pem = (file: string) => decodePem(read(file).toString(), "CERTIFICATE");
const der = (file: string) => [Uint8Array.from(read(file))];
const bundle = (file: string) => parseBundle("example.org", read(file).toString());
const inBoth = (folder: string, ...files: string[]) => files.flatMap((file) => ["go-spiffe", "java-spiffe"].map((from) => `${from}/${folder}/${file}`));

/** A bundle of these certificates for one trust domain. */
function bundleOf(trustDomain: string, ...certificates: readonly (Certificate | Uint8Array)[]) {
  const x509Authorities = certificates.map((certificate) => (certificate instanceof Uint8Array ? parseCertificate(certificate) : certificate));
  return new Map([[trustDomain, { trustDomain, x509Authorities, jwtAuthorities: [] }]]);
}

/** What verifySvid finds in the leaf alone: with no bundle at all it comes as far as asking for one if the leaf's shape is good. */
function shapeOf(chain: readonly Uint8Array[]) {
  const outcome = outcomeOf(() => verifySvid({ chain, bundles: new Map(), nowMs: 0, purpose: "server" }));
  return outcome === "svid_trust_domain_unknown" ? "accepted" : outcome;
}

function outcomeAt(time: string, chain: readonly Uint8Array[], bundles: ReturnType<typeof bundleOf>) {
  return outcomeOf(() => verifySvid({ chain, bundles, nowMs: Date.parse(time), purpose: "server" }));
}

/** Whether a PKCS#8 key is that of the leaf. */
function keyFits(leaf: Uint8Array, key: Parameters<typeof createPrivateKey>[0]) {
  return createPublicKey(createPrivateKey(key)).export({ format: "der", type: "spki" }).equals(parseCertificate(leaf).spki);
}
const pkcs8 = (file: string) => ({ key: read(file), format: "der", type: "pkcs8" } as const);

describe("X509-SVIDs of go-spiffe and java-spiffe", () => {
  const chain = "x509svid/good-leaf-and-intermediate.pem";
  const root = bundle("go-spiffe/spiffebundle/spiffebundle_valid_1.json").x509Authorities[0]!;

  test.each(inBoth("x509svid", "good-leaf-only.pem"))("%s has the shape of one", (file) => {
    expect(shapeOf(pem(file))).toBe("accepted");
  });

  test.each(inBoth("x509svid", "good-leaf-and-intermediate.pem"))("%s is verified during its hour, and only then", (file) => {
    const good = pem(file);
    expect(outcomeAt("2020-03-24T14:07:29Z", good, bundleOf("example.org", root))).toBe("path_not_yet_valid");
    expect(outcomeAt("2020-03-24T14:07:30Z", good, bundleOf("example.org", root))).toBe("accepted");
    expect(outcomeAt("2020-03-24T15:07:40Z", good, bundleOf("example.org", root))).toBe("accepted");
    expect(outcomeAt("2020-03-24T15:07:41Z", good, bundleOf("example.org", root))).toBe("path_expired");
  });

  test("the same chain is refused when its root is the bundle of another trust domain (XS-28)", () => {
    const time = "2020-03-24T14:30:00Z";
    expect(outcomeAt(time, pem(`go-spiffe/${chain}`), bundleOf("local", root))).toBe("svid_trust_domain_unknown");
    const other = parseCertificate(der("java-spiffe/workloadapi/bundle.der")[0]!);
    const both = new Map([...bundleOf("local", root), ...bundleOf("example.org", other)]);
    expect(outcomeAt(time, pem(`go-spiffe/${chain}`), both)).toBe("path_key_identifier_mismatch");
  });

  test.each([["good-cert-and-key.pem"], ["good-key-and-cert.pem"]])("%s: the leaf has the shape of one and the key fits", (file) => {
    const text = read(`go-spiffe/x509svid/${file}`).toString();
    // Our reader takes one kind of block at a time, so the file is cut into its two.
    const blocks = text.match(/-----BEGIN [\s\S]+?-----END [A-Z ]+-----/g)!;
    const [leaf] = decodePem(blocks.find((block) => block.includes("CERTIFICATE"))!, "CERTIFICATE");
    expect(shapeOf([leaf!])).toBe("accepted");
    expect(keyFits(leaf!, blocks.find((block) => block.includes("PRIVATE KEY"))!)).toBe(true);
  });

  test.each(inBoth("x509svid", "key-pkcs8-ecdsa.pem"))("%s fits the good chain and not the lone leaf", (file) => {
    expect(keyFits(pem(`go-spiffe/${chain}`)[0]!, read(file))).toBe(true);
    expect(keyFits(pem("go-spiffe/x509svid/good-leaf-only.pem")[0]!, read(file))).toBe(false);
  });

  test.each(inBoth("x509svid", "key-pkcs8-rsa.pem"))("%s fits the lone leaf and not the good chain", (file) => {
    expect(keyFits(pem("go-spiffe/x509svid/good-leaf-only.pem")[0]!, read(file))).toBe(true);
    expect(keyFits(pem(`go-spiffe/${chain}`)[0]!, read(file))).toBe(false);
  });

  test.each([
    ["XS-07, XS-20", "wrong-leaf-ca-true.pem", "svid_leaf_is_ca"],
    ["XS-10, XS-21", "wrong-leaf-cert-sign.pem", "svid_key_usage"],
    ["XS-10, XS-21", "wrong-leaf-crl-sign.pem", "svid_key_usage"],
    ["XS-14", "wrong-leaf-no-digital-signature.pem", "svid_key_usage"],
    ["XS-01", "wrong-leaf-empty-id.pem", "svid_uri_san_count"],
  ].flatMap(([rule, file, code]) => inBoth("x509svid", file!).map((path) => [rule!, path, code!] as const)))("%s: %s is refused", (_, file, code) => {
    expect(shapeOf(pem(file))).toBe(code);
  });

  // Neither certificate of these two chains has an authority key identifier, which is what is found first.
  test.each(inBoth("x509svid", "wrong-intermediate-no-ca.pem", "wrong-intermediate-no-key-cert-sign.pem"))("%s is refused", (file) => {
    const [leaf, intermediate] = pem(file);
    expect(outcomeAt("2021-01-01T00:00:00Z", [leaf!], bundleOf("example.org", intermediate!))).toMatch(/^path_/);
  });

  test.each([
    "go-spiffe/x509svid/corrupt-cert.pem", "go-spiffe/x509svid/corrupt-key.pem", "go-spiffe/x509svid/not-pem",
    "java-spiffe/x509svid/corrupted", "java-spiffe/workloadapi/corrupted",
  ])("%s is refused without repeating it", (file) => {
    const text = read(file).toString();
    const act = () => decodePem(text, "CERTIFICATE").map(parseCertificate);
    expect(outcomeOf(act)).toMatch(/^(der|pem)_malformed$/);
    const content = text.split("\n").filter((line) => line !== "" && !line.startsWith("-----"));
    expect(act).toThrow(expect.objectContaining({ message: expect.not.stringContaining(content[0]!) }));
  });

  test.each(["a", "b", "c", "d", "e"])("java-spiffe leaf-%s has the shape of one, its key fits, and it is no chain of its own", (letter) => {
    const [leaf] = der(`java-spiffe/certs/leaf-${letter}.crt.der`);
    expect(shapeOf([leaf!])).toBe("accepted");
    expect(keyFits(leaf!, pkcs8(`java-spiffe/certs/leaf-${letter}.key.der`))).toBe(true);
    expect(outcomeAt("2026-01-01T00:00:00Z", [leaf!], bundleOf("test", leaf!))).toMatch(/^path_/);
  });

  test.each([
    ["java-spiffe/internal/cert.pem", "spiffe://example.org/test", pem],
    ["java-spiffe/x509svid/cert.der", "spiffe://example.org/workload-server", der],
    ["java-spiffe/workloadapi/svid.der", "spiffe://example.org/workload-server", der],
  ])("%s has the shape of one", (file, id, reader) => {
    const [leaf] = reader(file);
    expect(shapeOf([leaf!])).toBe("accepted");
    expect(parseCertificate(leaf!).subjectAltName?.uris).toEqual([id]);
  });

  test("java-spiffe internal/cert2.pem is verified under other.org during its hour, and only there", () => {
    const chain2 = pem("java-spiffe/internal/cert2.pem");
    const [root2] = pem("java-spiffe/internal/bundle.pem");
    expect(outcomeAt("2020-03-19T19:30:23Z", chain2, bundleOf("other.org", root2!))).toBe("accepted");
    expect(outcomeAt("2020-03-19T20:30:33Z", chain2, bundleOf("other.org", root2!))).toBe("accepted");
    expect(outcomeAt("2020-03-19T20:30:34Z", chain2, bundleOf("other.org", root2!))).toBe("path_expired");
    expect(outcomeAt("2020-03-19T19:30:23Z", chain2, bundleOf("example.org", root2!))).toBe("svid_trust_domain_unknown");
  });

  test("java-spiffe workloadapi/svid.der does not chain to the bundle beside it", () => {
    const [authority] = der("java-spiffe/workloadapi/bundle.der");
    expect(outcomeAt("2020-05-20T00:00:00Z", der("java-spiffe/workloadapi/svid.der"), bundleOf("example.org", authority!))).toMatch(/^path_/);
    expect(keyFits(der("java-spiffe/workloadapi/svid.der")[0]!, pkcs8("java-spiffe/workloadapi/svid.key.der"))).toBe(true);
  });

  test("keys that match no leaf match no leaf", () => {
    const leaves = [
      ...pem("go-spiffe/x509svid/good-leaf-only.pem"), ...pem(`go-spiffe/${chain}`).slice(0, 1), ...pem("java-spiffe/internal/cert.pem"),
      ...pem("java-spiffe/internal/cert2.pem"), ...der("java-spiffe/x509svid/cert.der"), ...der("java-spiffe/workloadapi/svid.der"),
    ];
    for (const key of ["internal/privateKeyRsa.pem", "x509svid/key-ecdsa-other.pem", "x509svid/key-rsa-other.pem"]) {
      const bytes = read(`java-spiffe/${key}`);
      expect(leaves.filter((leaf) => keyFits(leaf, bytes))).toEqual([]);
    }
    expect(keyFits(leaves[4]!, pkcs8("java-spiffe/x509svid/keyEC.der"))).toBe(true);
  });
});

describe("bundles of go-spiffe and java-spiffe", () => {
  test.each([
    ["go-spiffe/spiffebundle/spiffebundle_valid_1.json", [1, 1, undefined, undefined]],
    ["go-spiffe/spiffebundle/spiffebundle_valid_2.json", [1, 6, 1n, 60]],
    ["go-spiffe/spiffebundle/spiffebundle_valid_with_wit.json", [1, 2, 1n, 60]],
    ["go-spiffe/spiffebundle/spiffebundle_missing_kid.json", [1, 0, undefined, undefined]],
    ["go-spiffe/spiffebundle/spiffebundle_multiple_x509.json", [1, 1, undefined, undefined]],
    ["java-spiffe/workloadapi/bundle.json", [0, 3, undefined, undefined]],
    // Plain JWK Sets: as SPIFFE bundles their entries have no use, or one we do not know (BF-07).
    ["go-spiffe/jwtbundle/jwks_valid_1.json", [0, 0, undefined, undefined]],
    ["go-spiffe/jwtbundle/jwks_valid_2.json", [0, 0, undefined, undefined]],
    ["go-spiffe/jwtbundle/jwks_missing_kid.json", [0, 0, undefined, undefined]],
    ["java-spiffe/jwtbundle/jwks_missing_kid.json", [0, 0, undefined, undefined]],
    ["java-spiffe/jwtbundle/jwks_valid_EC_1.json", [0, 0, undefined, undefined]],
    ["java-spiffe/jwtbundle/jwks_valid_RSA_1.json", [0, 0, undefined, undefined]],
    ["java-spiffe/jwtbundle/jwks_valid_RSA_EC.json", [0, 0, undefined, undefined]],
    ["java-spiffe/jwtbundle/jwks_invalid_keytype.json", [0, 0, undefined, undefined]],
  ])("%s is read", (file, expected) => {
    const { x509Authorities, jwtAuthorities, sequence, refreshHintSeconds } = bundle(file);
    expect([x509Authorities.length, jwtAuthorities.length, sequence, refreshHintSeconds]).toEqual(expected);
  });

  test("go-spiffe spiffebundle_no_keys.json is refused (BF-05)", () => {
    expect(outcomeOf(() => bundle("go-spiffe/spiffebundle/spiffebundle_no_keys.json"))).toBe("bundle_malformed");
  });

  // The plain JWK Sets again, now with the use and kid that a SPIFFE bundle gives such keys.
  test.each([
    ["go-spiffe/jwtbundle/jwks_valid_1.json", 1],
    ["go-spiffe/jwtbundle/jwks_valid_2.json", 2],
    ["go-spiffe/jwtbundle/jwks_missing_kid.json", 1],
    ["java-spiffe/jwtbundle/jwks_valid_EC_1.json", 1],
    ["java-spiffe/jwtbundle/jwks_missing_kid.json", 1],
  ])("%s has the JWT keys expected once they are marked as such", (file, expected) => {
    expect(marked(file).jwtAuthorities).toHaveLength(expected);
  });

  test.each(["jwks_valid_RSA_1.json", "jwks_valid_RSA_EC.json"])("java-spiffe %s marked as JWT keys is refused for its private keys", (file) => {
    expect(outcomeOf(() => marked(`java-spiffe/jwtbundle/${file}`))).toBe("bundle_malformed");
  });

  test("java-spiffe jwks_invalid_keytype.json marked as JWT keys is not read", () => {
    expect(outcomeOf(() => marked("java-spiffe/jwtbundle/jwks_invalid_keytype.json"))).not.toBe("accepted");
  });

  function marked(file: string) {
    const set = JSON.parse(read(file).toString()) as { keys: object[] };
    return parseBundle("example.org", JSON.stringify({ keys: set.keys.map((key) => ({ ...key, use: "jwt-svid" })) }));
  }

  test("java-spiffe workloadapi bundles: DER of example.org, and the root of spiffe://local, which is the one in x5c", () => {
    expect(parseCertificate(der("java-spiffe/workloadapi/bundle.der")[0]!).subjectAltName?.uris).toEqual(["spiffe://example.org"]);
    const [local] = pem("java-spiffe/workloadapi/federated-bundle.pem");
    expect(parseCertificate(local!).subjectAltName?.uris).toEqual(["spiffe://local"]);
    expect(parseCertificate(local!).fingerprint).toBe(bundle("go-spiffe/spiffebundle/spiffebundle_valid_1.json").x509Authorities[0]!.fingerprint);
    // WA-20: where DER is due, PEM is refused.
    expect(outcomeOf(() => parseCertificate(read("java-spiffe/workloadapi/federated-bundle.pem")))).toBe("der_malformed");
  });
});

describe("PEM files of go-spiffe and java-spiffe", () => {
  test.each(inBoth("x509bundle", "cert.pem"))("%s holds one block, of a certificate that is too old and too weak to be read", (file) => {
    expect(pem(file)).toHaveLength(1);
    expect(outcomeOf(() => pem(file).map(parseCertificate))).toBe("certificate_version_unsupported");
  });
  test.each(inBoth("x509bundle", "certs.pem"))("%s holds two blocks", (file) => {
    expect(pem(file)).toHaveLength(2);
  });
  test.each(inBoth("x509bundle", "corrupted.pem"))("%s is refused", (file) => {
    expect(outcomeOf(() => pem(file).map(parseCertificate))).toBe("der_malformed");
  });
  test.each(inBoth("x509bundle", "empty.pem", "key.pem", "not-pem.pem"))("%s is refused, without repeating a key", (file) => {
    expect(outcomeOf(() => pem(file))).toBe("pem_malformed");
    expect(() => pem(file)).toThrow(/^(?!.*MII)/);
  });
});

test("java-spiffe spiffeIds.txt has four IDs, three different ones, of two trust domains", () => {
  const ids = read("java-spiffe/spiffeid/spiffeIds.txt").toString().trim().split(/\r?\n/).map(parseSpiffeId);
  expect(ids).toHaveLength(4);
  expect(new Set(ids.map(({ uri }) => uri)).size).toBe(3);
  expect(new Set(ids.map(({ trustDomain }) => trustDomain)).size).toBe(2);
});

test("every vector is opened by a test above", () => {
  const present = ["go-spiffe", "java-spiffe"].flatMap((from) => readdirSync(new URL(from, vectors), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== "LICENSE").map((entry) => `${entry.parentPath}/${entry.name}`.split("/vectors/")[1]!));
  expect(present.filter((file) => !opened.has(file))).toEqual([]);
});
