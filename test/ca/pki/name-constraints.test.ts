import { describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeDer, encodeIa5String, encodeOid, encodeSequence, encodeSetOf, encodeUtf8String } from "../../../ca/pki/der-encoding.ts";
import { tag } from "../../../ca/pki/der-tag.ts";
import { nameConstraintFault } from "../../../ca/pki/name-constraints.ts";
import {
  directoryName, dns, email, ip, name, nameConstraints, otherName, relativeName, subjectAltName, testAuthority, uri,
} from "../../support/test-ca.ts";

interface Side { readonly permitted?: readonly Uint8Array[]; readonly excluded?: readonly Uint8Array[] }

const root = testAuthority({ trustDomain: "east" });
const violated = "path_name_constraint_violated";
const unsupported = "path_name_constraint_unsupported";

function faultOf(side: Side, names: readonly Uint8Array[], subject = name("")) {
  const authority = parseCertificate(root.issuer({ nameConstraints: nameConstraints(side) }).der);
  const san = names.length === 0 ? null : subjectAltName(names, true);
  const certificate = parseCertificate(root.leaf({ subject, extensions: { subjectAltName: san } }).der);
  return nameConstraintFault(authority.nameConstraints!, certificate, () => {});
}

const permits = (base: Uint8Array, present: Uint8Array) => faultOf({ permitted: [base] }, [present]) ?? "passes";
const excludes = (base: Uint8Array, present: Uint8Array) => faultOf({ excluded: [base] }, [present]) ?? "passes";

describe("a subtree holds a name", () => {
  test.each<[string, Uint8Array, Uint8Array]>([
    ["a URI by its host", uri("east"), uri("spiffe://east/ns/web")],
    ["a URI whatever its path", uri("east"), uri("spiffe://east")],
    ["a URI whatever its user, port, query or fragment", uri("east"), uri("https://me@EAST:443?x#y")],
    ["a URI host without case", uri("East"), uri("https://eAST/")],
    ["a URI host with an underscore", uri("ea_st"), uri("spiffe://ea_st/web")],
    ["a URI host that looks like an IP address (ID-06)", uri("10.0.0.1"), uri("spiffe://10.0.0.1/web")],
    ["a URI host below a domain", uri(".example"), uri("spiffe://east.example/web")],
    ["a URI host far below a domain", uri(".example"), uri("spiffe://a.b.example/web")],
    ["a DNS name that is the domain", dns("example.org"), dns("example.org")],
    ["a DNS name below it", dns("example.org"), dns("a.b.EXAMPLE.org")],
    ["any DNS name, if it is empty", dns(""), dns("web")],
    ["a wildcard over the domain", dns("example.org"), dns("*.example.org")],
    ["a wildcard below the domain", dns("example.org"), dns("*.a.example.org")],
    ["a mailbox", email("Joe@example.org"), email("Joe@Example.org")],
    ["a mailbox on a host", email("example.org"), email("joe@example.org")],
    ["a mailbox below a domain", email(".example.org"), email("joe@a.example.org")],
    ["any mailbox, if it is empty", email(""), email("joe@example.org")],
    ["an IPv4 address", ip(10, 1, 0, 0, 255, 255, 0, 0), ip(10, 1, 2, 3)],
    ["an IPv4 address under a mask inside an octet", ip(10, 128, 0, 0, 255, 128, 0, 0), ip(10, 200, 2, 3)],
    ["an IPv4 range with bits set beyond its mask", ip(10, 1, 9, 9, 255, 255, 0, 0), ip(10, 1, 2, 3)],
    ["an IPv6 address", ip(...ipv6(0xfd), ...ipv6(0xff)), ip(...ipv6(0xfd, 1))],
    ["a directory name", directoryName(name("web")), directoryName(name("web"))],
    ["a directory name below it", directoryName(organization("acme")), directoryName(organization("acme", "web"))],
    ["a directory name without case and extra blanks", directoryName(organization("Acme  Corp")), directoryName(organization("acme corp"))],
  ])("%s", (_, base, present) => {
    expect(permits(base, present)).toBe("passes");
    expect(excludes(base, present)).toBe(violated);
  });
});

describe("a subtree does not hold", () => {
  test.each<[string, Uint8Array, Uint8Array]>([
    ["another URI host", uri("east"), uri("spiffe://west/web")],
    ["a host below a plain URI host (unlike crypto/x509 of Go)", uri("east"), uri("spiffe://a.east/web")],
    ["a URI host that ends alike", uri("east"), uri("spiffe://northeast/web")],
    ["a URI host that begins alike", uri("east"), uri("spiffe://east.evil/web")],
    ["the domain itself below a URI domain", uri(".example"), uri("spiffe://example/web")],
    ["a URI with the host in its user part", uri("east"), uri("https://east@west/")],
    ["a URI with the host in its path", uri("east"), uri("https://west/east")],
    ["another DNS name", dns("example.org"), dns("example.com")],
    ["a DNS name that ends alike", dns("example.org"), dns("notexample.org")],
    ["the DNS name above", dns("a.example.org"), dns("example.org")],
    ["another mailbox", email("joe@example.org"), email("jim@example.org")],
    ["a mailbox in another case", email("Joe@example.org"), email("joe@example.org")],
    ["a mailbox below a plain host", email("example.org"), email("joe@a.example.org")],
    ["a mailbox on the domain itself below .domain", email(".example.org"), email("joe@example.org")],
    ["another IPv4 address", ip(10, 1, 0, 0, 255, 255, 0, 0), ip(10, 2, 2, 3)],
    ["an IPv6 address in an IPv4 range", ip(0, 0, 0, 0, 0, 0, 0, 0), ip(...ipv6(0xfd))],
    ["another directory name", directoryName(name("web")), directoryName(name("db"))],
    ["the directory name above", directoryName(organization("acme", "web")), directoryName(organization("acme"))],
    ["a directory name of another attribute", directoryName(name("acme")), directoryName(organization("acme"))],
  ])("%s", (_, base, present) => {
    expect(permits(base, present)).toBe(violated);
    expect(excludes(base, present)).toBe("passes");
  });
});

describe("a wildcard stands for all its expansions (RUSTSEC-2026-0099, CVE-2025-61727)", () => {
  test("so a permitted subtree that holds some of them is not enough", () => {
    expect(permits(dns("foo.example.org"), dns("*.example.org"))).toBe(violated);
  });
  test("and an excluded subtree that holds one of them is too much", () => {
    expect(excludes(dns("foo.example.org"), dns("*.example.org"))).toBe(violated);
  });
});

describe("name constraints", () => {
  test("exclude a name that is also permitted", () => {
    expect(faultOf({ permitted: [dns("example.org")], excluded: [dns("a.example.org")] }, [dns("a.example.org")])).toBe(violated);
    expect(faultOf({ permitted: [dns("example.org")], excluded: [dns("a.example.org")] }, [dns("b.example.org")])).toBeUndefined();
  });

  test("permit a name that any one of the subtrees holds", () => {
    expect(faultOf({ permitted: [dns("a.org"), dns("b.org")] }, [dns("x.a.org"), dns("x.b.org")])).toBeUndefined();
  });

  test("look at every name", () => {
    expect(faultOf({ permitted: [dns("a.org")] }, [dns("x.a.org"), dns("c.org")])).toBe(violated);
    expect(faultOf({ excluded: [uri("west")] }, [uri("spiffe://east/w"), uri("spiffe://west/w")])).toBe(violated);
  });

  test("leave names of other kinds alone", () => {
    const others = [dns("web"), email("a@b"), ip(1, 2, 3, 4), directoryName(name("x")), otherName("1.2.3")];
    expect(faultOf({ permitted: [uri("east")] }, [uri("spiffe://east/w"), ...others])).toBeUndefined();
    expect(faultOf({ permitted: [dns("east")] }, [uri("urn:x:y")])).toBeUndefined();
  });

  test.each<[string, Uint8Array]>([
    ["without a host", uri("urn:east")],
    ["with an empty host", uri("file:///east")],
    ["with an IPv6 literal", uri("https://[::1]/")],
    ["with a host in percent encoding", uri("https://e%61st/")],
    ["with a backslash that others read as a slash", uri("https://east\\@west/")],
  ])("refuse a URI %s when they are about URIs", (_, present) => {
    expect(faultOf({ excluded: [uri("west")] }, [present])).toBe(violated);
    expect(faultOf({ permitted: [uri("east")] }, [present])).toBe(violated);
  });

  test("refuse a name of a kind they are about but we do not read", () => {
    expect(faultOf({ excluded: [otherName("1.2.3")] }, [otherName("1.2.4"), uri("spiffe://east/w")])).toBe(unsupported);
    expect(faultOf({ permitted: [otherName("1.2.3")] }, [otherName("1.2.3"), uri("spiffe://east/w")])).toBe(unsupported);
    expect(faultOf({ excluded: [otherName("1.2.3")] }, [uri("spiffe://east/w")])).toBeUndefined();
  });

  test("see the subject, even where directory names are in subjectAltName", () => {
    expect(faultOf({ permitted: [directoryName(name("web"))] }, [directoryName(name("web"))], name("db"))).toBe(violated);
    expect(faultOf({ excluded: [directoryName(name("db"))] }, [], name("DB"))).toBe(violated);
    expect(faultOf({ permitted: [directoryName(name("web"))] }, [uri("spiffe://east/w")])).toBeUndefined();
  });

  test("see an e-mail address in the subject if there is none in subjectAltName", () => {
    const subject = encodeSequence(relativeName("1.2.840.113549.1.9.1", encodeIa5String("joe@evil.org")));
    expect(faultOf({ permitted: [email("example.org")] }, [uri("spiffe://east/w")], subject)).toBe(violated);
    expect(faultOf({ excluded: [email("joe@evil.org")] }, [], subject)).toBe(violated);
    expect(faultOf({ permitted: [email("example.org")] }, [email("a@example.org")], subject)).toBeUndefined();
  });

  test("refuse an e-mail address in the subject that has no plain form", () => {
    const subject = encodeSequence(relativeName("1.2.840.113549.1.9.1", encodeIa5String("a@evil.org@x.example.org")));
    expect(faultOf({ permitted: [email(".example.org")] }, [], subject)).toBe(unsupported);
  });

  test("refuse a directory name in a string type that cannot be compared", () => {
    const bmpName = encodeSequence(relativeName("2.5.4.3", encodeDer(0x1e, Buffer.from("\0w\0e\0b", "latin1"))));
    const brokenUtf8 = encodeSequence(relativeName("2.5.4.3", encodeDer(tag.utf8String, Uint8Array.of(0xff))));
    for (const strange of [bmpName, brokenUtf8]) {
      expect(faultOf({ excluded: [directoryName(name("web"))] }, [], strange)).toBe(unsupported);
      expect(faultOf({ excluded: [directoryName(strange)] }, [], name("web"))).toBe(unsupported);
    }
  });

  test.each([["UTF8String", tag.utf8String], ["PrintableString", tag.printableString], ["IA5String", tag.ia5String]])(
    "compare a %s with a UTF8String of the same text", (_, stringTag) => {
      const written = encodeSequence(relativeName("2.5.4.3", encodeDer(stringTag, Buffer.from("Web"))));
      expect(faultOf({ excluded: [directoryName(name("web"))] }, [], written)).toBe(violated);
    },
  );

  test("compare the attributes of one relative name as a set", () => {
    const both = (first: string, second: string) => encodeSequence(encodeSetOf(
      encodeSequence(encodeOid("2.5.4.3"), encodeUtf8String(first)), encodeSequence(encodeOid("2.5.4.10"), encodeUtf8String(second)),
    ));
    expect(faultOf({ permitted: [directoryName(both("web", "acme"))] }, [], both("WEB", "ACME"))).toBeUndefined();
    expect(faultOf({ permitted: [directoryName(name("web"))] }, [], both("web", "acme"))).toBe(violated);
  });

  test("report how many comparisons they are about to make", () => {
    const authority = parseCertificate(root.issuer({ nameConstraints: nameConstraints({ excluded: [dns("a"), dns("b")] }) }).der);
    const certificate = parseCertificate(root.leaf({ names: [dns("x"), dns("y"), dns("z")] }).der);
    let spent = 0;
    nameConstraintFault(authority.nameConstraints!, certificate, (comparisons) => { spent += comparisons; });
    expect(spent).toBe(6);
  });
});

function ipv6(first: number, last = 0): number[] {
  return [first, ...Array<number>(14).fill(0), last];
}

function organization(organizationName: string, commonName?: string): Uint8Array {
  return encodeSequence(
    relativeName("2.5.4.10", encodeUtf8String(organizationName)),
    ...(commonName === undefined ? [] : [relativeName("2.5.4.3", encodeUtf8String(commonName))]),
  );
}
