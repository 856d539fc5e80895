import { describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { validatePath, type PathRequest } from "../../../ca/pki/path.ts";
import { outcomeOf } from "../../support/outcome.ts";
import {
  basicConstraints, clientAuth, dns, extendedKeyUsage, extension, keyUsage, name, nameConstraints, otherName, serverAuth,
  signatureIdentifier, subjectAltName, subjectKeyIdentifier, testAuthority, testKey, testNowMs, uri, type AuthorityOptions, type LeafOptions, type TestAuthority,
} from "../../support/test-ca.ts";
import { encodeSequence } from "../../../ca/pki/der-encoding.ts";

interface Chain { readonly root?: AuthorityOptions; readonly issuer?: AuthorityOptions; readonly leaf?: LeafOptions }
type Settings = Partial<Omit<PathRequest, "leaf">>;

/** root -> issuer -> leaf, each as it should be unless told otherwise. */
function validateChain({ root = {}, issuer = {}, leaf = {} }: Chain, settings: Settings = {}) {
  const top = testAuthority({ trustDomain: "east", ...root });
  const below = top.issuer(issuer);
  return validate(below.leaf(leaf), [below], [top], settings);
}

interface Made { readonly der: Uint8Array }

function validate(leaf: Made, intermediates: readonly Made[], anchors: readonly Made[], settings: Settings = {}) {
  const read = ({ der }: Made) => parseCertificate(der);
  return validatePath({ leaf: read(leaf), intermediates: intermediates.map(read), anchors: anchors.map(read), nowMs: testNowMs, ...settings });
}

const year = (number: number) => Date.UTC(number, 0, 1);

describe("a path is found", () => {
  test("from the leaf over its issuer to the anchor, and ends with the first of their dates", () => {
    const path = validateChain({ issuer: { notAfterMs: year(2026) }, leaf: { notAfterMs: year(2027) } });
    expect(path.certificates).toHaveLength(3);
    expect(path.certificates.map(({ basicConstraints: read }) => read?.certificateAuthority)).toEqual([false, true, true]);
    expect(path.validUntilMs).toBe(year(2026));
  });

  test.each<[string, Chain, Settings?]>([
    ["with keys of P-384", { root: { keyKind: "ec-p384" }, issuer: { keyKind: "ec-p384" } }],
    ["with keys of Ed25519", { root: { keyKind: "ed25519" }, issuer: { keyKind: "ed25519" } }],
    ["with keys of RSA", { root: { keyKind: "rsa-2048" }, issuer: { keyKind: "rsa-2048" } }],
    ["with RSA and SHA-512", { root: { keyKind: "rsa-2048", digest: "sha512" }, issuer: { digest: "sha384" } }],
    ["in the last second of the leaf", { leaf: { notAfterMs: testNowMs } }],
    ["within the last second of the leaf", { leaf: { notAfterMs: testNowMs } }, { nowMs: testNowMs + 999 }],
    ["in the first second of the leaf", { leaf: { notBeforeMs: testNowMs } }],
    ["with a path length that is just enough", { root: { pathLength: 1 }, issuer: { pathLength: 0 } }],
    ["with the purpose listed all the way", {
      root: { extraExtensions: [extendedKeyUsage([clientAuth])] }, issuer: { extraExtensions: [extendedKeyUsage([clientAuth, serverAuth])] },
    }, { extendedKeyUsage: clientAuth }],
    ["with the purpose not restricted at all", { leaf: { extensions: { extendedKeyUsage: null } } }, { extendedKeyUsage: clientAuth }],
    ["without key usage and basicConstraints in the leaf", { leaf: { extensions: { keyUsage: null, basicConstraints: null } } }],
    ["without an authority key identifier in the anchor", { root: { extensions: { authorityKeyIdentifier: null } } }],
    ["with a name constraint that all names keep", { root: { nameConstraints: nameConstraints({ permitted: [uri("east")] }) } }],
  ])("%s", (_, chain, settings) => {
    expect(outcomeOf(() => validateChain(chain, settings))).toBe("accepted");
  });

  test("when an anchor is not a root: its own issuer is not asked for", () => {
    const issuer = testAuthority({ trustDomain: "east" }).issuer();
    expect(validate(issuer.leaf(), [], [issuer]).certificates).toHaveLength(2);
  });

  test("when the anchor comes along with the chain", () => {
    const root = testAuthority({ trustDomain: "east" });
    const issuer = root.issuer();
    expect(validate(issuer.leaf(), [root, issuer], [root]).certificates).toHaveLength(3);
  });

  test("among certificates that have nothing to do with it, in any order", () => {
    const root = testAuthority({ trustDomain: "east" });
    const upper = root.issuer({ commonName: "upper" });
    const lower = upper.issuer({ commonName: "lower" });
    const strangers = ["west", "south"].map((trustDomain) => testAuthority({ trustDomain }));
    expect(validate(lower.leaf(), [...strangers, upper, lower], [...strangers, root]).certificates).toHaveLength(4);
  });

  test.each<[string, AuthorityOptions]>([
    ["expired", { notAfterMs: year(2025) }],
    ["too short in path length", { pathLength: 0 }],
    ["under a name constraint", { nameConstraints: nameConstraints({ excluded: [uri("east")] }) }],
    ["signed by another key", { signWith: testKey().privateKey }],
  ])("around a cross-certificate that is %s", (_, fault) => {
    const [root, old] = ["root", "old"].map((trustDomain) => testAuthority({ trustDomain }));
    const [key, subject] = [testKey(), name("cross-signed")];
    const good = root!.issuer({ key, subject });
    const bad = old!.issuer({ key, subject, ...fault });
    const below = good.issuer();
    const leaf = below.leaf({ spiffeId: "spiffe://east/web" });
    for (const order of [[bad, good, below], [good, bad, below]]) {
      expect(outcomeOf(() => validate(leaf, order, [root!, old!]))).toBe("accepted");
    }
    expect(outcomeOf(() => validate(leaf, [bad, below], [root!, old!]))).toMatch(/^path_/);
  });
});

describe("a path is refused", () => {
  test.each<[string, Chain, string, Settings?]>([
    ["signature of the leaf by another key", { leaf: { signWith: testKey().privateKey } }, "path_signature_invalid"],
    ["signature of the issuer by another key", { issuer: { signWith: testKey().privateKey } }, "path_signature_invalid"],
    ["signature algorithm of another kind than the issuer's key", { leaf: { innerAlgorithm: signatureIdentifier("rsa-2048") } }, "path_signature_invalid"],
    ["leaf altered after signing", { leaf: { tamper: flipLetter } }, "path_signature_invalid"],
    ["leaf past its last second", { leaf: { notAfterMs: testNowMs - 1000 } }, "path_expired"],
    ["leaf one second past", { leaf: { notAfterMs: testNowMs } }, "path_expired", { nowMs: testNowMs + 1000 }],
    ["leaf not yet valid", { leaf: { notBeforeMs: testNowMs + 1000 } }, "path_not_yet_valid"],
    ["leaf not yet valid by part of a second", { leaf: { notBeforeMs: testNowMs } }, "path_not_yet_valid", { nowMs: testNowMs - 1 }],
    ["issuer expired", { issuer: { notAfterMs: year(2025) } }, "path_expired"],
    ["issuer not yet valid", { issuer: { notBeforeMs: year(2026) } }, "path_not_yet_valid"],
    ["anchor expired", { root: { notAfterMs: year(2025) } }, "path_expired"],
    ["anchor not yet valid", { root: { notBeforeMs: year(2026) } }, "path_not_yet_valid"],
    ["clock that is not a number", {}, "path_not_yet_valid", { nowMs: Number.NaN }],
    ["name chaining", { leaf: { issuerName: name("somebody else") } }, "path_not_found"],
    ["name chaining compares bytes", { leaf: { issuerName: name("EAST ISSUER") } }, "path_not_found"],
    ["issuer without basicConstraints", { issuer: { extensions: { basicConstraints: null } } }, "path_issuer_not_ca"],
    ["issuer with cA FALSE", { issuer: { extensions: { basicConstraints: basicConstraints(false) } } }, "path_issuer_not_ca"],
    ["CERT-14: issuer with basicConstraints not critical",
      { issuer: { extensions: { basicConstraints: basicConstraints(true, undefined, false) } } }, "path_issuer_not_ca"],
    ["anchor with cA FALSE", { root: { extensions: { basicConstraints: basicConstraints(false) } } }, "path_issuer_not_ca"],
    ["CERT-12: issuer without keyCertSign", { issuer: { extensions: { keyUsage: keyUsage([0, 6]) } } }, "path_issuer_key_usage"],
    ["issuer without key usage", { issuer: { extensions: { keyUsage: null } } }, "path_issuer_key_usage"],
    ["anchor without keyCertSign", { root: { extensions: { keyUsage: keyUsage([6]) } } }, "path_issuer_key_usage"],
    ["CERT-12: leaf with keyCertSign", { leaf: { extensions: { keyUsage: keyUsage([0, 5]) } } }, "certificate_extension_invalid"],
    ["leaf with cA but without keyCertSign", { leaf: { extensions: { basicConstraints: basicConstraints(true) } } }, "certificate_extension_invalid"],
    ["CERT-09: leaf without authority key identifier", { leaf: { extensions: { authorityKeyIdentifier: null } } }, "path_key_identifier_mismatch"],
    ["CERT-09: issuer without authority key identifier", { issuer: { extensions: { authorityKeyIdentifier: null } } }, "path_key_identifier_mismatch"],
    ["CERT-10: issuer without subject key identifier", { issuer: { extensions: { subjectKeyIdentifier: null } } }, "path_key_identifier_mismatch"],
    ["CERT-10: anchor without subject key identifier", { root: { extensions: { subjectKeyIdentifier: null } } }, "path_key_identifier_mismatch"],
    ["CERT-10: key identifiers that do not fit",
      { leaf: { extensions: { authorityKeyIdentifier: extension("2.5.29.35", false, encodeSequence(Uint8Array.of(0x80, 1, 9))) } } },
      "path_key_identifier_mismatch"],
    ["path length of the anchor", { root: { pathLength: 0 } }, "path_length_exceeded"],
    ["more intermediates than asked for", {}, "path_too_long", { maxIntermediates: 0 }],
    ["purpose missing in the leaf", { leaf: { extensions: { extendedKeyUsage: extendedKeyUsage([serverAuth]) } } },
      "path_extended_key_usage", { extendedKeyUsage: clientAuth }],
    ["purpose missing in the issuer", { issuer: { extraExtensions: [extendedKeyUsage([serverAuth])] } },
      "path_extended_key_usage", { extendedKeyUsage: clientAuth }],
    ["purpose missing in the anchor", { root: { extraExtensions: [extendedKeyUsage([serverAuth])] } },
      "path_extended_key_usage", { extendedKeyUsage: clientAuth }],
    ["any purpose is not the purpose", { leaf: { extensions: { extendedKeyUsage: extendedKeyUsage(["2.5.29.37.0"]) } } },
      "path_extended_key_usage", { extendedKeyUsage: clientAuth }],
    ["name constraint of the issuer", { issuer: { nameConstraints: nameConstraints({ permitted: [uri("west")] }) } }, "path_name_constraint_violated"],
    ["name constraint of the anchor", { root: { nameConstraints: nameConstraints({ excluded: [uri("east")] }) } }, "path_name_constraint_violated"],
    ["name constraint on a name of the issuer",
      { root: { nameConstraints: nameConstraints({ excluded: [uri("north")] }) }, issuer: { spiffeId: "spiffe://north" } }, "path_name_constraint_violated"],
    ["name constraint on a kind of name we do not read",
      { root: { nameConstraints: nameConstraints({ excluded: [otherName("1.2.3")] }) }, leaf: { names: [otherName("1.2.3")] } },
      "path_name_constraint_unsupported"],
  ])("%s", (_, chain, code, settings) => {
    expect(outcomeOf(() => validateChain(chain, settings))).toBe(code);
  });

  test("when nobody is trusted", () => {
    expect(outcomeOf(() => validateChain({}, { anchors: [] }))).toBe("path_not_found");
  });

  test("when the leaf is its own anchor, although it is self-signed", () => {
    const leaf = testAuthority({ trustDomain: "east", extensions: { basicConstraints: basicConstraints(false), keyUsage: keyUsage([0]) } });
    expect(outcomeOf(() => validate(leaf, [], [leaf]))).toBe("path_not_found");
    const root = testAuthority({ trustDomain: "east" });
    expect(outcomeOf(() => validate(root, [root], [root]))).toBe("path_not_found");
  });

  test("when a leaf issued it: two leaves, both under a good issuer", () => {
    const root = testAuthority({ trustDomain: "east" });
    const leaf = root.issuer({ commonName: "leaf", extensions: { basicConstraints: basicConstraints(false), keyUsage: keyUsage([0]) } });
    expect(outcomeOf(() => validate(leaf, [], [root]))).toBe("accepted");
    expect(outcomeOf(() => validate(leaf.leaf(), [leaf], [root]))).toBe("path_issuer_not_ca");
  });

  test("when the public key of the issuer is not a point of its curve", () => {
    const key = testKey();
    const spki = key.publicKey.export({ format: "der", type: "spki" });
    spki[spki.length - 1]! ^= 1;
    const broken = { ...key, publicKey: { export: () => spki } as unknown as typeof key.publicKey };
    expect(outcomeOf(() => validateChain({ issuer: { key: broken } }))).toBe("public_key_invalid");
    const root = testAuthority({ trustDomain: "east" });
    const [good, bad] = [root.issuer(), root.issuer({ key: broken, extensions: { subjectKeyIdentifier: null } })];
    const twin = root.issuer({ key: broken, extensions: { subjectKeyIdentifier: subjectKeyIdentifier(good.keyIdentifier) } });
    expect(outcomeOf(() => validate(good.leaf(), [bad, twin, good], [root]))).toBe("accepted");
  });

  test("with the fault of the candidate that came furthest", () => {
    const [root, other] = ["root", "other"].map((trustDomain) => testAuthority({ trustDomain }));
    const [key, subject] = [testKey(), name("issuer")];
    const expired = root!.issuer({ key, subject, notAfterMs: year(2025) });
    const notCa = root!.issuer({ key, subject, extensions: { basicConstraints: null } });
    const homonym = other!.issuer({ subject });
    const leaf = expired.leaf();
    for (const intermediates of [[expired, notCa, homonym], [homonym, notCa, expired]]) {
      expect(outcomeOf(() => validate(leaf, intermediates, [root!]))).toBe("path_expired");
    }
    const faultyAbove = root!.issuer({ key, subject, signWith: testKey().privateKey });
    expect(() => validate(leaf, [expired, faultyAbove], [root!])).toThrow(/depth 2/);
  });
});

describe("a self-issued intermediate, as in a key rollover", () => {
  const rollover = (options: AuthorityOptions, newer: AuthorityOptions = {}) => {
    const root = testAuthority({ trustDomain: "east", ...options });
    const older = root.issuer({ subject: name("rolling") });
    return { root, older, newer: older.issuer({ subject: name("rolling"), ...newer }) };
  };

  test("does not count for path length and number of intermediates", () => {
    const { root, older, newer } = rollover({ pathLength: 1 });
    expect(outcomeOf(() => validate(newer.leaf(), [older, newer], [root], { maxIntermediates: 1 }))).toBe("accepted");
    const counted = older.issuer({ subject: name("not rolling") });
    expect(outcomeOf(() => validate(counted.leaf(), [older, counted], [root]))).toBe("path_length_exceeded");
    expect(outcomeOf(() => validate(counted.leaf(), [older, counted], [root], { maxIntermediates: 1 }))).not.toBe("accepted");
  });

  test("is free of name constraints, which its leaf is not", () => {
    const { root, older, newer } = rollover({ nameConstraints: nameConstraints({ permitted: [dns("east")] }) }, {
      extensions: { subjectAltName: subjectAltName([dns("west")]) },
    });
    expect(outcomeOf(() => validate(newer.leaf({ names: [dns("web.east")] }), [older, newer], [root]))).toBe("accepted");
    expect(outcomeOf(() => validate(newer.leaf({ names: [dns("web.west")] }), [older, newer], [root]))).toBe("path_name_constraint_violated");
  });

  test("gives no freedom to a leaf that bears the name of its issuer", () => {
    const { root, older } = rollover({ nameConstraints: nameConstraints({ permitted: [dns("east")] }) });
    const selfIssuedLeaf = older.leaf({ subject: name("rolling"), names: [dns("web.west")] });
    expect(outcomeOf(() => validate(selfIssuedLeaf, [older], [root]))).toBe("path_name_constraint_violated");
  });
});

describe("the search ends", () => {
  test("in a loop of two CAs that certify each other", () => {
    const [keyA, keyB] = [testKey(), testKey()];
    const [rootA, rootB] = [testAuthority({ trustDomain: "a", key: keyA, subject: name("a") }), testAuthority({ trustDomain: "b", key: keyB, subject: name("b") })];
    const aByB = rootB.issuer({ key: keyA, subject: name("a") });
    const bByA = rootA.issuer({ key: keyB, subject: name("b") });
    expect(outcomeOf(() => validate(rootA.leaf(), [aByB, bByA], [testAuthority({ trustDomain: "c" })]))).toBe("path_not_found");
    expect(outcomeOf(() => validate(rootA.leaf(), [aByB, bByA], [rootB]))).toBe("accepted");
  });

  test("where every CA certifies every other", () => {
    const keys = Array.from({ length: 6 }, () => testKey());
    const roots = keys.map((key, index) => testAuthority({ trustDomain: `${index}`, key, subject: name(`${index}`) }));
    const cross = roots.flatMap((root, above) => keys.flatMap((key, index) => (index === above ? [] : [root.issuer({ key, subject: name(`${index}`) })])));
    const budget = { signatureChecks: 1000, candidates: 5_000, nameComparisons: 0 };
    expect(outcomeOf(() => validate(roots[0]!.leaf(), cross, [testAuthority({ trustDomain: "c" })], { budget }))).toBe("path_budget_exceeded");
    expect(outcomeOf(() => validate(roots[0]!.leaf(), cross, [roots[5]!]))).toBe("accepted");
  });

  /** Layers of certificates with one name and one key each: every choice in one layer goes with every choice in the next. */
  function layers(count: number, width: number): { all: TestAuthority[]; lowest: TestAuthority } {
    let above = testAuthority({ trustDomain: "unknown" });
    const all: TestAuthority[] = [];
    for (let layer = 0; layer < count; layer++) {
      const [key, subject] = [testKey(), name(`layer ${layer}`)];
      const twins = Array.from({ length: width }, () => above.issuer({ key, subject }));
      all.push(...twins);
      above = twins[0]!;
    }
    return { all, lowest: above };
  }

  test.each([
    ["signature checks", { signatureChecks: 20, candidates: 1_000_000, nameComparisons: 0 }, "signatureChecks"],
    ["candidates", { signatureChecks: 1_000_000, candidates: 2_000, nameComparisons: 0 }, "candidates"],
  ])("when the %s of its budget are spent", (_, budget, limit) => {
    const { all, lowest } = layers(6, 6);
    const act = () => validate(lowest.leaf(), all, [testAuthority({ trustDomain: "east" })], { budget });
    expect(outcomeOf(act)).toBe("path_budget_exceeded");
    expect(act).toThrow(limit);
  });

  test("under the default budget too, when nothing else bounds it", () => {
    const { all, lowest } = layers(6, 8);
    expect(outcomeOf(() => validate(lowest.leaf(), all, [testAuthority({ trustDomain: "east" })]))).toBe("path_budget_exceeded");
  });

  test("when the comparisons of names of its budget are spent", () => {
    const numbered = (letter: string, count: number) => Array.from({ length: count }, (_, index) => dns(`${letter}${index}`));
    const constraint = nameConstraints({ excluded: numbered("x", 400), permitted: numbered("y", 400) });
    const chain = { root: { nameConstraints: constraint }, leaf: { names: numbered("y", 400) } };
    expect(outcomeOf(() => validateChain(chain))).toBe("path_budget_exceeded");
    expect(outcomeOf(() => validateChain(chain, { budget: { signatureChecks: 9, candidates: 9, nameComparisons: 320_000 } }))).toBe("accepted");
  });

  test("without checking one signature twice", () => {
    const { all, lowest } = layers(3, 3);
    const budget = { signatureChecks: 3 + 9 + 9, candidates: 100_000, nameComparisons: 0 };
    expect(outcomeOf(() => validate(lowest.leaf(), all, [testAuthority({ trustDomain: "east" })], { budget }))).toBe("path_not_found");
  });
});

/** Changes one letter of the leaf's SPIFFE ID. */
function flipLetter(der: Uint8Array): Uint8Array {
  const altered = Buffer.from(der);
  const at = altered.indexOf("workload");
  altered[at]! ^= 1;
  return altered;
}
