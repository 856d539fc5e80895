import { chmodSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { readConfig } from "../../../ca/config/config.ts";
import { openWebCertificate, readWebCertificate, type WebCertificate } from "../../../ca/runtime/web-certificate.ts";
import { dns, ip, testAuthority, type TestLeaf } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-web-certificate-"));
const web = testAuthority({ trustDomain: "web.example" });
const files = { certPath: join(folder, "fullchain.pem"), keyPath: join(folder, "privkey.pem") };
const leafFor = (...names: readonly string[]): TestLeaf => web.leaf({ names: names.map((name) => dns(name)) });
function put(leaf: TestLeaf, { cert = leaf.chainPem, key = leaf.privateKeyPem, mode = 0o600 } = {}): void {
  writeFileSync(files.certPath, cert);
  writeFileSync(files.keyPath, key);
  chmodSync(files.keyPath, mode);
}
/** As it is while somebody writes it: the certificate is whole, what is above it is not. */
function halve(leaf: TestLeaf = leafFor("bundle.west.example")): void {
  put(leaf, { cert: `${leaf.pem}-----BEGIN CERTIFICATE-----\nMIIB` });
}
const ownNames = ["ca.west.example", "localhost"];
const logged: string[] = [];
const ends: number[] = [];
const log = { info: () => undefined, warn: () => undefined, error: ({ err }: { err?: Error }, message: string) => void logged.push(`${message}: ${err?.message}`) };
const opened: WebCertificate[] = [];
function open(): WebCertificate {
  const certificate = openWebCertificate(files, { ownNames, log, onRead: (notAfterMs) => void ends.push(notAfterMs) });
  opened.push(certificate);
  return certificate;
}
const unusable = (why: RegExp) => expect.objectContaining({ code: "web_certificate_unusable", message: expect.stringMatching(why) as string }) as Error;

beforeEach(() => {
  logged.length = 0;
  rmSync(files.certPath, { force: true });
  put(leafFor("bundle.west.example"));
});
afterAll(() => {
  for (const certificate of opened) certificate.close();
  rmSync(folder, { recursive: true });
});

describe("a web certificate", () => {
  test("is shown for its own names alone: for no other, and for none of those that the API is known by", () => {
    put(leafFor("bundle.west.example", "*.pages.west.example", "CA.west.example"));
    const certificate = open();
    for (const name of ["bundle.west.example", "BUNDLE.west.example", "a.pages.west.example"]) expect(certificate.contextOf(name), name).toBeDefined();
    for (const name of ["ca.west.example", "localhost", "west.example", "pages.west.example", "a.b.pages.west.example", "bundle.west.example.evil", ""]) expect(certificate.contextOf(name), name).toBeUndefined();
    expect(certificate.vitals()).toMatchObject({ names: ["bundle.west.example", "*.pages.west.example"], notAfter: expect.stringMatching(/Z$/) as string });
  });

  test("a wildcard that has one of the API's names in it does not take that name", () => {
    put(leafFor("*.west.example"));
    expect(open().contextOf("ca.west.example")).toBeUndefined();
  });

  test.each<[string, () => void, RegExp]>([
    ["a file that is not there", () => rmSync(files.certPath), /fullchain\.pem cannot be read \(ENOENT\)/],
    ["no certificate", () => put(leafFor("bundle.west.example"), { cert: "hello" }), /has no certificate in PEM; name certbot's fullchain\.pem/],
    ["no key", () => rmSync(files.keyPath), /privkey\.pem is not there/],
    ["a key that is none", () => put(leafFor("bundle.west.example"), { key: "hunter2" }), /has no private key in PEM/],
    ["a key that everybody may read", () => put(leafFor("bundle.west.example"), { mode: 0o644 }), /others on this machine could read/],
    ["another's key", () => put(leafFor("bundle.west.example"), { key: leafFor("a").privateKeyPem }), /is not the key of/],
    ["addresses alone", () => put(web.leaf({ names: [ip(127, 0, 0, 1)] })), /has no DNS name/],
    ["names of the API alone", () => put(leafFor("ca.west.example")), /by which proxies and commands know the API.*e\.g\. bundle\.ca\.west\.example/],
    ["half of what is above it", () => halve(), /fullchain\.pem cannot be shown.*half a file/],
  ])("with %s is refused, and it is said what to do, without the key", (_claim, change, why) => {
    change();
    expect(() => readWebCertificate(files, ownNames)).toThrow(unusable(why));
    expect(() => readWebCertificate(files, ownNames)).toThrow(expect.not.stringContaining("hunter2") as string);
  });

  test("is read again when its files change, also where links lead to others, as certbot has them", () => {
    for (const [name, path] of Object.entries({ "fullchain1.pem": files.certPath, "privkey1.pem": files.keyPath })) {
      renameSync(path, join(folder, name));
      symlinkSync(name, path);
    }
    const certificate = open();
    const before = certificate.contextOf("bundle.west.example");
    certificate.tick();
    expect(certificate.contextOf("bundle.west.example")).toBe(before);
    const renewed = leafFor("bundle.west.example", "bundle2.west.example");
    for (const [name, path, text] of [["fullchain2.pem", files.certPath, renewed.chainPem], ["privkey2.pem", files.keyPath, renewed.privateKeyPem]] as const) {
      writeFileSync(join(folder, name), text, { mode: 0o600 });
      unlinkSync(path);
      symlinkSync(name, path);
      certificate.tick();
    }
    expect(certificate.contextOf("bundle.west.example")).not.toBe(before);
    expect(certificate.contextOf("bundle2.west.example")).toBeDefined();
    expect(certificate.vitals()).not.toHaveProperty("trouble");
    expect(new Date(ends.at(-1)!).toISOString()).toBe(certificate.vitals().notAfter);
    // Between the two links the files did not fit: told once, and over.
    expect(logged).toHaveLength(1);
    for (const path of [files.certPath, files.keyPath]) unlinkSync(path);
  });

  test("that is replaced by something of no use stays, says so once, and takes what is good again", () => {
    const certificate = open();
    const before = certificate.contextOf("bundle.west.example");
    writeFileSync(files.certPath, "half a file");
    for (let looks = 0; looks < 3; looks++) certificate.tick();
    expect(certificate.contextOf("bundle.west.example")).toBe(before);
    expect(certificate.vitals().trouble).toMatch(/has no certificate in PEM/);
    expect(logged).toEqual([expect.stringMatching(/the one before stays in use: .*no certificate in PEM/)]);
    put(leafFor("bundle.west.example"));
    certificate.tick();
    expect(certificate.contextOf("bundle.west.example")).not.toBe(before);
    expect(certificate.vitals()).not.toHaveProperty("trouble");
  });

  test.each<[string, () => void]>([
    ["is written in place, and half there", () => halve()],
    ["cannot be looked at at all", () => {
      unlinkSync(files.certPath);
      symlinkSync("fullchain.pem", files.certPath);
    }],
  ])("that %s ends nothing: the one before stays", (_claim, change) => {
    const certificate = open();
    const before = certificate.contextOf("bundle.west.example");
    change();
    expect(() => certificate.tick()).not.toThrow();
    expect(certificate.contextOf("bundle.west.example")).toBe(before);
    expect(certificate.vitals().trouble).toBeDefined();
  });
});

test("a certificate without its key, or a key without its certificate, is a setting that says nothing", () => {
  for (const half of [{ webCert: "a.pem" }, { webKey: "a.pem" }]) expect(() => readConfig({ file: half })).toThrow(/webCert and webKey belong together/);
});
