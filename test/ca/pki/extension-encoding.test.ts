import { describe, expect, it } from "vitest";
import { encodeExtensions, type ExtensionFields } from "../../../ca/pki/extension-encoding.ts";
import { parseIpAddress, parseIpRange } from "../../../ca/pki/ip-address.ts";

const hex = (fields: ExtensionFields, subjectEmpty = false): string => Buffer.concat(encodeExtensions(fields, subjectEmpty)).toString("hex");
const keyIdentifier = new Uint8Array(20).fill(0xab);

// Each row was written down from the ASN.1 of RFC 5280 appendix A.2, not taken from the output.
describe("an extension", () => {
  it.each<[string, ExtensionFields, string]>([
    ["basicConstraints of a leaf is the empty SEQUENCE, critical", { basicConstraints: { certificateAuthority: false } },
      "300c 0603551d13 0101ff 0402 3000"],
    ["basicConstraints of a CA", { basicConstraints: { certificateAuthority: true } }, "300f 0603551d13 0101ff 0405 3003 0101ff"],
    ["basicConstraints with path length 0", { basicConstraints: { certificateAuthority: true, pathLength: 0 } },
      "3012 0603551d13 0101ff 0408 3006 0101ff 020100"],
    ["keyUsage digitalSignature, critical, without trailing zero bits", { keyUsage: ["digitalSignature"] },
      "300e 0603551d0f 0101ff 0404 0302 0780"],
    ["keyUsage keyCertSign and cRLSign", { keyUsage: ["keyCertSign", "crlSign"] }, "300e 0603551d0f 0101ff 0404 0302 0106"],
    ["keyUsage beyond the first octet", { keyUsage: ["keyAgreement", "decipherOnly"] }, "300f 0603551d0f 0101ff 0405 0303 070880"],
    ["extKeyUsage, not critical", { extKeyUsage: ["serverAuth", "clientAuth"] },
      "301d 0603551d25 0416 3014 06082b06010505070301 06082b06010505070302"],
    ["subjectKeyIdentifier, not critical", { subjectKeyIdentifier: keyIdentifier }, `301d 0603551d0e 0416 0414 ${"ab".repeat(20)}`],
    ["authorityKeyIdentifier, not critical", { authorityKeyIdentifier: keyIdentifier }, `301f 0603551d23 0418 3016 8014 ${"ab".repeat(20)}`],
    ["nameConstraints of each kind, critical, without minimum", { nameConstraints: {
      permitted: { uris: ["east"], dnsNames: ["svc"] }, excluded: { ipRanges: [parseIpRange("0.0.0.0/0")] },
    } }, "302b 0603551d1e 0101ff 0421 301f a00f 3006 860465617374 3005 8203737663 a10c 300a 8708 0000000000000000"],
    ["the place of a CRL, not critical", { revocationInfo: { crlUrl: "http://e/a" } },
      "301b 0603551d1f 0414 3012 3010 a00e a00c 860a 687474703a2f2f652f61"],
    ["the places of OCSP and of the issuer, not critical", { revocationInfo: { ocspUrl: "http://e/o", issuerUrl: "http://e/i" } },
      "303e 06082b06010505070101 0432 3030 3016 06082b06010505073001 860a 687474703a2f2f652f6f 3016 06082b06010505073002 860a 687474703a2f2f652f69"],
    ["noRevAvail is NULL, not critical", { revocationInfo: { noRevocationAvailable: true } }, "3009 0603551d38 0402 0500"],
    ["ocsp-nocheck is NULL, not critical", { ocspNoCheck: true }, "300f 06092b0601050507300105 0402 0500"],
    ["subjectAltName of each kind, URIs first", { subjectAltName: { ipAddresses: [parseIpAddress("10.0.0.1")], dnsNames: ["a.b"], uris: ["spiffe://e/a"] } },
      "3022 0603551d11 041b 3019 860c 7370696666653a2f2f652f61 8203 612e62 8704 0a000001"],
  ])("%s", (_, fields, expected) => {
    expect(hex(fields)).toBe(expected.replaceAll(" ", ""));
  });

  it("subjectAltName is critical exactly if the subject is empty", () => {
    const fields = { subjectAltName: { dnsNames: ["a"] } };
    expect(hex(fields, true)).toBe("300f0603551d110101ff04053003820161");
    expect(hex(fields, false)).toBe("300c0603551d1104053003820161");
  });

  it("that is not asked for is not there", () => {
    expect(encodeExtensions({}, false)).toEqual([]);
  });

  it.each<[string, ExtensionFields]>([
    ["a path length without cA", { basicConstraints: { certificateAuthority: false, pathLength: 0 } }],
    ["a negative path length", { basicConstraints: { certificateAuthority: true, pathLength: -1 } }],
    ["keyUsage without bits", { keyUsage: [] }],
    ["extKeyUsage without purposes", { extKeyUsage: [] }],
    ["nameConstraints without sides", { nameConstraints: {} }],
    ["nameConstraints with an empty side", { nameConstraints: { permitted: {} } }],
    ["nameConstraints with a mere address", { nameConstraints: { permitted: { ipRanges: [new Uint8Array(4)] } } }],
    ["subjectAltName without names", { subjectAltName: { dnsNames: [] } }],
    ["an IP address of 5 octets", { subjectAltName: { ipAddresses: [new Uint8Array(5)] } }],
    ["noRevAvail beside a CRL", { revocationInfo: { crlUrl: "http://e/a", noRevocationAvailable: true } }],
    ["noRevAvail beside OCSP", { revocationInfo: { ocspUrl: "http://e/a", noRevocationAvailable: true } }],
    ["a name beyond ASCII", { subjectAltName: { dnsNames: ["\u0161op"] } }],
  ])("is not written for %s", (_, fields) => {
    expect(() => encodeExtensions(fields, true)).toThrow(RangeError);
  });
});
