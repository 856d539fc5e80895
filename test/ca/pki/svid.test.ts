import { describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { readSpiffeId, verifySvid, type SvidRequest } from "../../../ca/pki/svid.ts";
import { outcomeOf } from "../../support/outcome.ts";
import {
  authorityKeyIdentifier, basicConstraints, clientAuth, dns, extendedKeyUsage, extension, ip, keyUsage, name, nameConstraints, serverAuth, subjectAltName,
  subjectKeyIdentifier, testAuthority, testKey, testNowMs, uri, type AuthorityOptions, type LeafOptions,
} from "../../support/test-ca.ts";
import { encodeNull } from "../../../ca/pki/der-encoding.ts";

interface Chain { readonly root?: AuthorityOptions; readonly issuer?: AuthorityOptions; readonly leaf?: LeafOptions }

function verifyChain({ root = {}, issuer = {}, leaf = {} }: Chain, purpose: SvidRequest["purpose"] = "client") {
  const top = testAuthority({ trustDomain: "east", ...root });
  return verifySvid({ chain: top.issuer(issuer).leaf(leaf).chain, bundles: top.bundles(), nowMs: testNowMs, purpose });
}

const names = (...encoded: Uint8Array[]) => ({ subjectAltName: subjectAltName(encoded, true) });
const id = uri("spiffe://east/web");

describe("an SVID is verified", () => {
  test("and says who it is, until when, and with what", () => {
    const root = testAuthority({ trustDomain: "east" });
    const notAfterMs = testNowMs + 3_600_000;
    const leaf = root.issuer().leaf({ spiffeId: "spiffe://east/ns/shop/sa/cart", notAfterMs });
    const svid = verifySvid({ chain: leaf.chain, bundles: root.bundles(), nowMs: testNowMs, purpose: "server" });
    expect(svid.id).toEqual({ uri: "spiffe://east/ns/shop/sa/cart", trustDomain: "east", path: "/ns/shop/sa/cart" });
    expect(svid.validUntilMs).toBe(notAfterMs);
    expect(svid.serialNumber).toBe(leaf.serialNumber);
    expect(svid.fingerprint).toBe(parseCertificate(leaf.der).fingerprint);
    expect(svid.path.certificates).toHaveLength(3);
  });

  test.each<[string, Chain]>([
    ["XS-03: with DNS and IP names beside the ID", { leaf: { names: [dns("web.shop"), ip(10, 0, 0, 1)] } }],
    ["XS-05: with a subject, and then a subjectAltName that is not critical",
      { leaf: { subject: name("web"), extensions: { subjectAltName: subjectAltName([id]) } } }],
    ["XS-07: without basicConstraints", { leaf: { extensions: { basicConstraints: null } } }],
    ["XS-08: under a path length", { root: { pathLength: 1 }, issuer: { pathLength: 0 } }],
    ["XS-09: under a signing certificate without cRLSign", { issuer: { extensions: { keyUsage: keyUsage([5]) } } }],
    ["XS-11: under signing certificates without an ID", { root: { spiffeId: null }, issuer: { spiffeId: null } }],
    ["XS-11: under a signing certificate with a URI of another scheme", { issuer: { extensions: names(uri("https://ca.east/a")) } }],
    ["XS-12: under a signing certificate with the ID of another domain", { root: { spiffeId: "spiffe://local" } }],
    ["XS-14: with keyEncipherment and keyAgreement", { leaf: { extensions: { keyUsage: keyUsage([0, 2, 4]) } } }],
    ["XS-15: under a URI name constraint", { issuer: { nameConstraints: nameConstraints({ permitted: [uri("east")] }) } }],
    ["XS-16: without extended key usage", { leaf: { extensions: { extendedKeyUsage: null } } }],
    ["XS-16: with a critical extended key usage",
      { leaf: { extensions: { extendedKeyUsage: extendedKeyUsage([clientAuth, serverAuth], true) } } }],
    ["XS-18: under a signing certificate with both purposes", { issuer: { extraExtensions: [extendedKeyUsage([serverAuth, clientAuth])] } }],
  ])("%s", (_, chain) => {
    expect(outcomeOf(() => verifyChain(chain))).toBe("accepted");
  });
});

describe("an SVID is refused", () => {
  test.each<[string, Chain, string]>([
    ["XS-01: no name at all", { leaf: { subject: name("web"), extensions: { subjectAltName: null } } }, "svid_uri_san_count"],
    ["XS-01: only a DNS name", { leaf: { extensions: names(dns("web")) } }, "svid_uri_san_count"],
    ["XS-01: the ID only in the subject", { leaf: { subject: name("spiffe://east/web"), extensions: names(dns("web")) } }, "svid_uri_san_count"],
    ["XS-02: two IDs", { leaf: { extensions: names(id, uri("spiffe://east/db")) } }, "svid_uri_san_count"],
    ["XS-02: the same ID twice", { leaf: { extensions: names(id, id) } }, "svid_uri_san_count"],
    ["XS-02: an ID and another URI", { leaf: { extensions: names(id, uri("https://web.example/")) } }, "svid_uri_san_count"],
    ["XS-04, XS-23: an ID without a path", { leaf: { spiffeId: "spiffe://east" } }, "svid_id_without_path"],
    ["XS-04, XS-23: an ID with the root path", { leaf: { spiffeId: "spiffe://east/" } }, "spiffe_id_malformed"],
    ["XS-05: no subject, subjectAltName not critical",
      { leaf: { extensions: { subjectAltName: subjectAltName([id]) } } }, "certificate_extension_invalid"],
    ["XS-06, XS-20: a signing certificate presented as identity",
      { leaf: { extensions: { basicConstraints: basicConstraints(true), keyUsage: keyUsage([0, 5]) } } }, "svid_leaf_is_ca"],
    ["XS-07: signing certificate without cA", { issuer: { extensions: { basicConstraints: basicConstraints(false) } } }, "path_issuer_not_ca"],
    ["XS-07: bundle certificate without cA", { root: { extensions: { basicConstraints: basicConstraints(false) } } }, "path_issuer_not_ca"],
    ["XS-08: path length broken", { root: { pathLength: 0 } }, "path_length_exceeded"],
    ["XS-09: signing certificate without keyCertSign", { issuer: { extensions: { keyUsage: keyUsage([6]) } } }, "path_issuer_key_usage"],
    ["XS-10, XS-21: leaf with keyCertSign", { leaf: { extensions: { keyUsage: keyUsage([0, 5]) } } }, "svid_key_usage"],
    ["XS-10, XS-21: leaf with cRLSign", { leaf: { extensions: { keyUsage: keyUsage([0, 6]) } } }, "svid_key_usage"],
    ["XS-11: signing certificate with the ID of a workload", { issuer: { spiffeId: "spiffe://east/ca" } }, "svid_id_with_path"],
    ["XS-11: bundle certificate with the ID of a workload", { root: { spiffeId: "spiffe://east/ca" } }, "svid_id_with_path"],
    ["XS-02: signing certificate with two URIs", { issuer: { extensions: names(uri("spiffe://east"), uri("https://x")) } }, "svid_uri_san_count"],
    ["ID-01: signing certificate with a malformed ID", { issuer: { spiffeId: "SPIFFE://east" } }, "spiffe_id_malformed"],
    ["XS-13: leaf without key usage", { leaf: { extensions: { keyUsage: null } } }, "svid_key_usage"],
    ["XS-13: leaf with key usage not critical", { leaf: { extensions: { keyUsage: keyUsage([0], false) } } }, "svid_key_usage"],
    ["XS-13: signing certificate with key usage not critical",
      { issuer: { extensions: { keyUsage: keyUsage([5, 6], false) } } }, "svid_key_usage"],
    ["XS-13: bundle certificate with key usage not critical", { root: { extensions: { keyUsage: keyUsage([5, 6], false) } } }, "svid_key_usage"],
    ["XS-14: leaf without digitalSignature", { leaf: { extensions: { keyUsage: keyUsage([4]) } } }, "svid_key_usage"],
    ["XS-15: URI name constraint broken", { issuer: { nameConstraints: nameConstraints({ permitted: [uri("west")] }) } }, "path_name_constraint_violated"],
    ["XS-17: leaf with serverAuth alone", { leaf: { extensions: { extendedKeyUsage: extendedKeyUsage([serverAuth]) } } }, "svid_extended_key_usage"],
    ["XS-17: leaf with clientAuth alone", { leaf: { extensions: { extendedKeyUsage: extendedKeyUsage([clientAuth]) } } }, "svid_extended_key_usage"],
    ["XS-17: leaf with any purpose", { leaf: { extensions: { extendedKeyUsage: extendedKeyUsage(["2.5.29.37.0"]) } } }, "svid_extended_key_usage"],
    ["XS-18: signing certificate with another purpose", { issuer: { extraExtensions: [extendedKeyUsage([serverAuth])] } }, "path_extended_key_usage"],
    ["XS-19: expired leaf", { leaf: { notAfterMs: testNowMs - 1000 } }, "path_expired"],
    ["XS-19: expired signing certificate", { issuer: { notAfterMs: testNowMs - 1000 } }, "path_expired"],
    ["XS-19: expired bundle certificate", { root: { notAfterMs: testNowMs - 1000 } }, "path_expired"],
    ["XS-19: signature by another key", { leaf: { signWith: testKey().privateKey } }, "path_signature_invalid"],
    ["XS-19: unknown critical extension",
      { leaf: { extraExtensions: [extension("1.2.3.4", true, encodeNull())] } }, "certificate_extension_critical_unknown"],
    ["XS-19: unknown critical extension in the signing certificate",
      { issuer: { extraExtensions: [extension("1.2.3.4", true, encodeNull())] } }, "certificate_extension_critical_unknown"],
    ["XS-22: another scheme", { leaf: { spiffeId: "https://east/web" } }, "spiffe_id_malformed"],
    ["XS-22, ID-11: the scheme in upper case", { leaf: { spiffeId: "SPIFFE://east/web" } }, "spiffe_id_malformed"],
  ])("%s", (_, chain, code) => {
    expect(outcomeOf(() => verifyChain(chain))).toBe(code);
  });

  test("XS-18: the signing certificate's purposes bind servers as they do clients", () => {
    const onlyServers = { issuer: { extraExtensions: [extendedKeyUsage([serverAuth])] } };
    expect(outcomeOf(() => verifyChain(onlyServers, "server"))).toBe("accepted");
    const onlyClients = { issuer: { extraExtensions: [extendedKeyUsage([clientAuth])] } };
    expect(outcomeOf(() => verifyChain(onlyClients, "server"))).toBe("path_extended_key_usage");
  });

  test("when there is no certificate", () => {
    expect(outcomeOf(() => verifySvid({ chain: [], bundles: new Map(), nowMs: testNowMs, purpose: "client" }))).toBe("svid_chain_empty");
  });

  test("when the chain is longer than eight, before any of it is read", () => {
    const junk = Array.from({ length: 9 }, () => Uint8Array.of(0));
    expect(outcomeOf(() => verifySvid({ chain: junk, bundles: new Map(), nowMs: testNowMs, purpose: "client" }))).toBe("path_too_long");
  });

  test("but not when it is just eight long", () => {
    const root = testAuthority({ trustDomain: "east" });
    const chain = [...root.issuer().leaf().chain, ...Array.from({ length: 6 }, () => root.der)];
    expect(outcomeOf(() => verifySvid({ chain, bundles: root.bundles(), nowMs: testNowMs, purpose: "client" }))).toBe("accepted");
  });

  test("when what follows the leaf is not a certificate", () => {
    const root = testAuthority({ trustDomain: "east" });
    const chain = [root.leaf().der, Uint8Array.of(0x30, 0x00)];
    expect(outcomeOf(() => verifySvid({ chain, bundles: root.bundles(), nowMs: testNowMs, purpose: "client" }))).toBe("der_malformed");
  });
});

describe("XS-28: only the bundle of the trust domain in the leaf's ID counts", () => {
  const [east, west] = [testAuthority({ trustDomain: "east" }), testAuthority({ trustDomain: "west" })];
  const bundles = new Map([...east.bundles(), ...west.bundles()]);
  const outcome = (chain: readonly Uint8Array[], known: SvidRequest["bundles"] = bundles) =>
    outcomeOf(() => verifySvid({ chain, bundles: known, nowMs: testNowMs, purpose: "client" }));

  test("each domain's own leaves are accepted", () => {
    expect(outcome(east.issuer().leaf().chain)).toBe("accepted");
    expect(outcome(west.issuer().leaf().chain)).toBe("accepted");
  });

  test("a leaf of one domain signed by the other is refused, although both bundles are known", () => {
    expect(outcome(west.issuer().leaf({ spiffeId: "spiffe://east/web" }).chain)).toBe("path_not_found");
    expect(outcome(west.leaf({ spiffeId: "spiffe://east/web" }).chain)).toBe("path_not_found");
  });

  test("it is refused also with the names and key identifiers of the right domain's CA", () => {
    const disguise = { subject: east.subject, extensions: { subjectKeyIdentifier: extensionOf(east.keyIdentifier) } };
    const impostor = testAuthority({ trustDomain: "west", ...disguise });
    const leaf = impostor.leaf({ spiffeId: "spiffe://east/web" });
    expect(outcome(leaf.chain)).toBe("path_key_identifier_mismatch");
    const forged = east.leaf({ spiffeId: "spiffe://east/web", signWith: west.privateKey });
    expect(outcome(forged.chain)).toBe("path_signature_invalid");
    expect(outcome([...forged.chain, west.der])).toBe("path_signature_invalid");
  });

  test("a bundle for the domain that signed it is not lent to a domain without one", () => {
    expect(outcome(east.leaf().chain, west.bundles())).toBe("svid_trust_domain_unknown");
    expect(outcome(west.leaf({ spiffeId: "spiffe://east/web" }).chain, west.bundles())).toBe("svid_trust_domain_unknown");
  });

  test("a bundle filed under the wrong domain is not used", () => {
    const misfiled = new Map([["east", west.bundle()]]);
    expect(outcome(west.leaf({ spiffeId: "spiffe://east/web" }).chain, misfiled)).toBe("svid_trust_domain_unknown");
  });

  test("domains that differ by a prefix or suffix are different", () => {
    for (const domain of ["eas", "east.evil", "x.east", "eastt"]) {
      expect(outcome(east.leaf({ spiffeId: `spiffe://${domain}/web` }).chain)).toBe("svid_trust_domain_unknown");
    }
  });

  test("XS-27, BF-06: a bundle without an authority verifies nothing", () => {
    const empty = new Map([["east", { trustDomain: "east", x509Authorities: [], jwtAuthorities: [] }]]);
    expect(outcome(east.issuer().leaf().chain, empty)).toBe("path_not_found");
  });

  test("XS-07: a workload certificate in a bundle vouches for nobody, itself included", () => {
    const leaf = testAuthority({
      trustDomain: "east", spiffeId: "spiffe://east/web", extensions: { basicConstraints: basicConstraints(false), keyUsage: keyUsage([0]) },
    });
    expect(outcome([leaf.der], leaf.bundles())).toBe("path_not_found");
    expect(outcome(leaf.leaf({ spiffeId: "spiffe://east/db" }).chain, leaf.bundles())).toBe("path_issuer_not_ca");
  });

  test("several authorities in one bundle are alternatives, as during a rotation", () => {
    const successor = testAuthority({ trustDomain: "east" });
    const both = { ...east.bundle(), x509Authorities: [...successor.bundle().x509Authorities, ...east.bundle().x509Authorities] };
    const rotating = new Map([["east", both]]);
    expect(outcome(east.issuer().leaf().chain, rotating)).toBe("accepted");
    expect(outcome(successor.issuer().leaf().chain, rotating)).toBe("accepted");
  });
});

test("readSpiffeId reads the ID without trusting it", () => {
  const { der } = testAuthority({ trustDomain: "east" }).leaf({ spiffeId: "spiffe://anything/goes" });
  expect(readSpiffeId(parseCertificate(der)).uri).toBe("spiffe://anything/goes");
});

function extensionOf(keyIdentifier: Uint8Array): Uint8Array {
  return extension("2.5.29.14", false, Uint8Array.of(0x04, keyIdentifier.length, ...keyIdentifier));
}

describe("what a hostile chain costs is bounded", () => {
  /** Seven CAs of one name and one key identifier, each signed by the next and the last by the first: no order of them ends. */
  function ring(constraints: readonly Uint8Array[] | undefined, leafNames: readonly Uint8Array[]): readonly Uint8Array[] {
    const subject = name("x");
    const identifier = new Uint8Array(20).fill(7);
    const extensions = { subjectKeyIdentifier: subjectKeyIdentifier(identifier), authorityKeyIdentifier: authorityKeyIdentifier(identifier) };
    const keys = Array.from({ length: 7 }, () => testKey());
    const authorities = keys.map((key, index) =>
      testAuthority({ trustDomain: "east", subject, key: keys[(index + 1) % 7]!, extensions })
        .issuer({ subject, key, extensions, ...(constraints && { nameConstraints: nameConstraints({ excluded: constraints }) }) }));
    const leaf = authorities[0]!.leaf({ names: leafNames, extensions: { authorityKeyIdentifier: extensions.authorityKeyIdentifier } });
    return [leaf.der, ...authorities.map(({ der }) => der).reverse()];
  }

  const many = (letter: string, count: number) => Array.from({ length: count }, (_, index) => dns(`${letter}${index}.e`));
  test.each([
    ["signatureChecks", undefined, []],
    ["nameComparisons", many("n", 120), many("z", 120)],
  ] as const)("by the number of %s", (limit, constraints, leafNames) => {
    const bundles = testAuthority({ trustDomain: "east" }).bundles();
    const act = () => verifySvid({ chain: ring(constraints, leafNames), bundles, nowMs: testNowMs, purpose: "client" });
    expect(outcomeOf(act)).toBe("path_budget_exceeded");
    expect(act).toThrow(limit);
  });

  test("and an honest chain below the last of a full bundle's anchors is verified", () => {
    const roots = Array.from({ length: 256 }, () => testAuthority({ trustDomain: "east" }));
    const east = { ...roots[0]!.bundle(), x509Authorities: roots.flatMap((root) => root.bundle().x509Authorities) };
    const { chain } = roots.at(-1)!.issuer().issuer().issuer().issuer().issuer().issuer().leaf({ names: many("z", 100) });
    expect(outcomeOf(() => verifySvid({ chain, bundles: new Map([["east", east]]), nowMs: testNowMs, purpose: "client" }))).toBe("accepted");
  });
});
