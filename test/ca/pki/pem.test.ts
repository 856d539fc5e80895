import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodePem, encodePem, type DecodePemOptions, type PemLabel } from "../../../ca/pki/pem.ts";
import { outcomeOf } from "../../support/outcome.ts";

const der = Uint8Array.from({ length: 100 }, (_, index) => index);
const block = encodePem("CERTIFICATE", der);
const [begin = "", fullLine = "", , lastLine = "", end = ""] = encodePem("CERTIFICATE", new Uint8Array(100)).split("\n");
const withBody = (...lines: string[]): string => [begin, ...lines, end, ""].join("\n");

describe("a PEM block", () => {
  it("comes back as it was written, in 64 columns", () => {
    const labels: PemLabel[] = ["CERTIFICATE", "CERTIFICATE REQUEST", "PUBLIC KEY", "PRIVATE KEY", "X509 CRL"];
    fc.assert(fc.property(fc.constantFrom(...labels), fc.uint8Array({ minLength: 1, maxLength: 300 }), (label, content) => {
      const text = encodePem(label, content);
      expect(decodePem(text, label).map((decoded) => Buffer.from(decoded).toString("hex"))).toEqual([Buffer.from(content).toString("hex")]);
      expect(text.split("\n").every((line) => line.length <= 64)).toBe(true);
    }));
  });

  it("may stand with others, after blank lines, with CRLF, and without a final newline", () => {
    expect(decodePem(`\n \t\n${block}\n${block}`, "CERTIFICATE")).toHaveLength(2);
    expect(decodePem(block.replaceAll("\n", "\r\n"), "CERTIFICATE")).toHaveLength(1);
    expect(decodePem(block.trimEnd(), "CERTIFICATE")).toHaveLength(1);
  });

  it.each<[string, string]>([
    ["an empty text", ""],
    ["text without a block", "not a PEM\n"],
    ["another label", block.replaceAll("CERTIFICATE", "PRIVATE KEY")],
    ["an old alias of the label", block.replaceAll("CERTIFICATE", "X509 CERTIFICATE")],
    ["another label at the end", block.replace("END CERTIFICATE", "END PUBLIC KEY")],
    ["a second block of another label", block + encodePem("PRIVATE KEY", der)],
    ["a boundary in lower case", block.replace("BEGIN", "begin")],
    ["a boundary with a blank before it", ` ${block}`],
    ["a boundary with a blank behind it", block.replace("-----\n", "----- \n")],
    ["a boundary with four dashes", block.replace("-----BEGIN", "----BEGIN")],
    ["content on the line of the boundary", block.replace("-----\n", "-----")],
    ["no end", block.slice(0, block.indexOf("-----END"))],
    ["a second block without end", `${block}${begin}\n${fullLine}\n`],
    ["an end without a beginning", `${end}\n`],
    ["a beginning within a block", `${begin}\n${block}`],
    ["text before the block", `subject=CN=x\n${block}`],
    ["text behind the block", `${block}x`],
    ["lone carriage returns", block.replaceAll("\n", "\r")],
    ["an empty body", withBody()],
    ["a body of one empty line", withBody("")],
    ["a header in the body", withBody("Proc-Type: 4,ENCRYPTED", "", "AAAA")],
    ["a blank line in the body", withBody(fullLine, "", lastLine)],
    ["a blank in the body", withBody("AAAA AAAA")],
    ["a blank at the end of a line", withBody("AAAA ")],
    ["lines of 60 columns", withBody(fullLine.slice(4), lastLine)],
    ["lines of 76 columns", withBody(`${fullLine}${"A".repeat(12)}`, lastLine)],
    ["a last line of 68 columns", withBody(`${fullLine}AAAA`)],
    ["missing padding", withBody("AAA")],
    ["too much padding", withBody("AAA==")],
    ["padding alone", withBody("====")],
    ["padding in the middle", withBody(`${fullLine.slice(0, -1)}=`, lastLine)],
    ["bits left over behind the last octet", withBody("AAB=")],
    ["base64url", withBody("AA-_")],
    ["a character outside base64", withBody("AA*A")],
    ["a NUL", withBody("AA\0A")],
  ])("is refused for %s", (_, text) => {
    expect(outcomeOf(() => decodePem(text, "CERTIFICATE"))).toBe("pem_malformed");
  });

  it("may have text around it when that is allowed, but no bent boundary", () => {
    const allowText: DecodePemOptions = { allowText: true };
    const bundle = `# root\n${block}\nsubject=CN=\u00e9\nissuer=CN=x\n${block}`;
    expect(decodePem(bundle, "CERTIFICATE", allowText)).toHaveLength(2);
    for (const text of [`x\n ${block}`, `x${begin}\n${block}`, bundle + encodePem("PRIVATE KEY", der), "only text"]) {
      expect(outcomeOf(() => decodePem(text, "CERTIFICATE", allowText))).toBe("pem_malformed");
    }
  });

  it("is not looked at beyond the limits", () => {
    expect(outcomeOf(() => decodePem(block.repeat(3), "CERTIFICATE", { maxBlocks: 2 }))).toBe("pem_limit_exceeded");
    expect(decodePem(block.repeat(3), "CERTIFICATE", { maxBlocks: 3 })).toHaveLength(3);
    expect(outcomeOf(() => decodePem(block.repeat(65), "CERTIFICATE"))).toBe("pem_limit_exceeded");
    expect(outcomeOf(() => decodePem(block, "CERTIFICATE", { maxChars: block.length - 1 }))).toBe("pem_limit_exceeded");
    expect(outcomeOf(() => decodePem("\n".repeat(1024 * 1024 + 1), "CERTIFICATE"))).toBe("pem_limit_exceeded");
  });

  it("never shows up in the refusal", () => {
    const secret = "c2VjcmV0IGtleSBieXRlcw==";
    for (const text of [withBody(secret, secret), `${secret}\n${block}`, block.replaceAll("CERTIFICATE", secret)]) {
      expect(() => decodePem(text, "CERTIFICATE")).toThrow(expect.not.objectContaining({ message: expect.stringContaining(secret) }));
    }
  });

  it("is either refused with a code or is what we would write ourselves", () => {
    const lines = fc.array(fc.oneof(fc.constantFrom(begin, end, fullLine, lastLine, "AAAA", "", "=", " "), fc.base64String()), { maxLength: 8 });
    fc.assert(fc.property(lines, (parts) => {
      const text = parts.join("\n");
      let decoded: Uint8Array[] = [];
      if (outcomeOf(() => (decoded = decodePem(text, "CERTIFICATE"))) !== "accepted") return;
      const written = decoded.map((content) => encodePem("CERTIFICATE", content)).join("");
      expect(text.split("\n").filter((line) => line.trim() !== "").join("\n")).toBe(written.trimEnd());
    }), { numRuns: 5000 });
  });
});
