import { describe, expect, test } from "vitest";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeDer, encodeNull, encodeSequence, encodeUtf8String } from "../../../ca/pki/der-encoding.ts";
import { context, contextConstructed } from "../../../ca/pki/der-tag.ts";
import { outcomeOf } from "../../support/outcome.ts";
import {
  directoryName, dns, email, ip, name, nameConstraints, otherName, subjectAltName, testAuthority, uri, type ExtensionName,
} from "../../support/test-ca.ts";

const root = testAuthority({ trustDomain: "east" });
/** Names are only ever read as part of a certificate. */
const withExtension = (which: ExtensionName, encoded: Uint8Array) =>
  outcomeOf(() => parseCertificate(root.issuer({ extensions: { [which]: encoded } }).der));

describe("a name in subjectAltName", () => {
  test.each<[string, Uint8Array]>([
    ["a URI", uri("https://example.org/a?b#c")],
    ["a URI without authority", uri("urn:uuid:1")],
    ["a DNS name", dns("Web-1.example.org")],
    ["a DNS name of one label", dns("web")],
    ["a DNS name with an underscore", dns("_web.example_1")],
    ["a DNS name with a wildcard for its first label", dns("*.example.org")],
    ["a DNS name of 253 characters", dns(["a".repeat(63), "a".repeat(63), "a".repeat(63), "a".repeat(61)].join("."))],
    ["an IPv4 address", ip(10, 0, 0, 1)],
    ["an IPv6 address", ip(...Array(16).fill(1))],
    ["a mailbox", email("**+x@example.org")],
    ["a directory name", directoryName(name("web"))],
    ["an otherName", otherName("1.2.3")],
    ["a registered ID", encodeDer(context(8), Uint8Array.of(0x2a))],
  ])("may be %s", (_, encoded) => {
    expect(withExtension("subjectAltName", subjectAltName([encoded]))).toBe("accepted");
  });

  test.each<[string, Uint8Array]>([
    ["a relative URI", uri("example.org/a")],
    ["an empty URI", uri("")],
    ["a URI with a blank", uri("spiffe://east/a b")],
    ["a URI with a NUL", uri("spiffe://east/a\0b")],
    ["an empty DNS name", dns("")],
    ["a blank DNS name", dns(" ")],
    ["a DNS name with a leading dot", dns(".example.org")],
    ["a DNS name with a trailing dot", dns("example.org.")],
    ["a DNS name with an empty label", dns("example..org")],
    ["a DNS name with a NUL", dns("example.org\0.evil")],
    ["a DNS name with a label of 64", dns("a".repeat(64))],
    ["a DNS name of 254 characters", dns(["a".repeat(63), "a".repeat(63), "a".repeat(63), "a".repeat(62)].join("."))],
    ["a DNS name with a label that ends in a dash", dns("web-.example.org")],
    ["a wildcard alone", dns("*")],
    ["a wildcard that is part of a label", dns("w*.example.org")],
    ["a wildcard that is not first", dns("web.*.org")],
    ["an IPv4 address as DNS name", dns("10.0.0.1")],
    ["an IP address with a mask", ip(10, 0, 0, 0, 255, 0, 0, 0)],
    ["an IP address of 5 octets", ip(1, 2, 3, 4, 5)],
    ["an e-mail address without a host", email("web")],
    ["an e-mail address with two", email("a@b@c")],
    ["a name of a kind that does not exist", encodeDer(context(9), Uint8Array.of(1))],
    ["a URI in constructed form", encodeDer(contextConstructed(6), encodeUtf8String("spiffe://east/a"))],
  ])("cannot be %s", (_, encoded) => {
    expect(withExtension("subjectAltName", subjectAltName([encoded]))).toBe("certificate_extension_invalid");
  });

  test.each<[string, Uint8Array]>([
    ["text beyond ASCII", encodeDer(context(6), Buffer.from("spiffe://east/é"))],
    ["a directory name that is no Name", directoryName(encodeSequence(encodeNull()))],
    ["two directory names in one", encodeDer(contextConstructed(4), name("a"), name("b"))],
  ])("cannot be %s, which is not even DER of its type", (_, encoded) => {
    expect(withExtension("subjectAltName", subjectAltName([encoded]))).toBe("der_malformed");
  });
});

describe("a name constraint", () => {
  test.each<[string, Uint8Array]>([
    ["a host for URIs", uri("east.example")],
    ["a domain for URIs", uri(".east.example")],
    ["a domain for DNS names", dns("example.org")],
    ["every DNS name", dns("")],
    ["a mailbox", email("a@example.org")],
    ["a mail host", email("example.org")],
    ["a mail domain", email(".example.org")],
    ["every e-mail address", email("")],
    ["an IPv4 range", ip(10, 0, 0, 0, 255, 128, 0, 0)],
    ["every IPv6 address", ip(...Array(32).fill(0))],
    ["a directory name", directoryName(name("web"))],
    ["an otherName", otherName("1.2.3")],
  ])("may be about %s", (_, base) => {
    expect(withExtension("nameConstraints", nameConstraints({ permitted: [base] }))).toBe("accepted");
    expect(withExtension("nameConstraints", nameConstraints({ excluded: [base] }))).toBe("accepted");
  });

  test.each<[string, Uint8Array]>([
    ["a whole URI (CERT-17: host only)", uri("spiffe://east")],
    ["a URI host with a port", uri("east:443")],
    ["no URI host", uri("")],
    ["a DNS name with a leading dot", dns(".example.org")],
    ["a DNS name with a wildcard", dns("*.example.org")],
    ["two mailboxes in one", email("a@b@example.org")],
    ["an IP address without a mask", ip(10, 0, 0, 1)],
    ["an IP mask with holes", ip(10, 0, 0, 0, 255, 0, 255, 0)],
  ])("cannot be %s", (_, base) => {
    expect(withExtension("nameConstraints", nameConstraints({ permitted: [base] }))).toBe("certificate_extension_invalid");
    expect(withExtension("nameConstraints", nameConstraints({ excluded: [base] }))).toBe("certificate_extension_invalid");
  });
});

test("500 names are read, more are not, in subjectAltName as in name constraints", () => {
  const names = (count: number) => Array.from({ length: count }, (_, index) => dns(`n${index}`));
  expect(withExtension("subjectAltName", subjectAltName(names(500)))).toBe("accepted");
  expect(withExtension("subjectAltName", subjectAltName(names(501)))).toBe("certificate_extension_invalid");
  expect(withExtension("nameConstraints", nameConstraints({ excluded: names(500) }))).toBe("accepted");
  expect(withExtension("nameConstraints", nameConstraints({ excluded: names(501) }))).toBe("certificate_extension_invalid");
});
