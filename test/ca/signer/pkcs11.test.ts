import { createPublicKey, randomBytes } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { signatureAlgorithmFor, verifySignature } from "../../../ca/pki/key.ts";
import { pkcs11PublicKey, pkcs11Signer } from "../../../ca/signer/pkcs11.ts";
import { parsePkcs11Uri } from "../../../ca/signer/pkcs11-uri.ts";
import { createSoftHsm, softHsmAvailable, type SoftHsm } from "../../support/softhsm.ts";

const message = randomBytes(10_000);

describe.skipIf(!softHsmAvailable)("a key on a token (SoftHSM2)", () => {
  let hsm: SoftHsm;
  beforeAll(() => {
    hsm = createSoftHsm();
    Object.assign(process.env, hsm.env);
    hsm.createKey("p256", "EC:prime256v1");
    hsm.createKey("rsa", "rsa:2048");
    hsm.createKey("careful", "EC:secp384r1", "--always-auth");
  });
  afterAll(() => hsm?.remove());

  const publicKeys = new Map<string, Uint8Array>();

  // "careful" asks for the PIN before each signature, as keys of smart cards do.
  test.each(["p256", "rsa", "careful"])("%s signs, and its public part is what verifies", async (object) => {
    const uri = parsePkcs11Uri(hsm.uri(object));
    const spki = await pkcs11PublicKey(uri, {});
    publicKeys.set(object, spki);
    const signer = pkcs11Signer(uri, spki, {});
    const publicKey = createPublicKey({ key: spki as Buffer, format: "der", type: "spki" });
    expect(verifySignature(signatureAlgorithmFor(signer.keyAlgorithm), publicKey, message, await signer.sign(message))).toBe(true);
  });

  test("its signature is thrown away when it is not by the pinned key", async () => {
    const other = publicKeys.get("careful")!;
    await expect(pkcs11Signer(parsePkcs11Uri(hsm.uri("p256")), other, {}).sign(message)).rejects.toMatchObject({ code: "signature_wrong" });
  });

  test("a key, a token and a module that there are not are each named", async () => {
    const read = (text: string) => pkcs11PublicKey(parsePkcs11Uri(text), { pin: hsm.pin });
    await expect(read(hsm.uri("nothing"))).rejects.toMatchObject({ code: "key_unknown", message: expect.stringContaining("object=nothing") });
    const elsewhere = `pkcs11:token=other;object=p256?module-path=${hsm.modulePath}`;
    await expect(read(elsewhere)).rejects.toMatchObject({ code: "signer_unavailable", message: expect.stringContaining(hsm.label) });
    await expect(read("pkcs11:object=p256?module-path=/nowhere.so")).rejects.toMatchObject({ code: "signer_unavailable", message: expect.stringContaining("/nowhere.so") });
  });

  test("a wrong PIN is tried once, and is in no message", async () => {
    const uri = parsePkcs11Uri(hsm.uri("p256").split("&pin-source")[0]!);
    const signer = pkcs11Signer(uri, publicKeys.get("p256")!, { pin: "wrong-7391" });
    const refused = await signer.sign(message).catch((error: unknown) => error as Error);
    expect(refused).toMatchObject({ code: "key_refused" });
    expect(String(refused) + JSON.stringify(refused)).not.toContain("7391");
    await expect(signer.sign(message)).rejects.toBe(refused);
  });

  test("a PIN file that others can read is refused", async () => {
    const open = join(hsm.pinFile, "..", "open-pin");
    writeFileSync(open, hsm.pin, { mode: 0o644 });
    const uri = parsePkcs11Uri(hsm.uri("p256").replace(hsm.pinFile, open));
    await expect(pkcs11PublicKey(uri, {})).rejects.toMatchObject({ code: "key_file_exposed" });
  });
});

describe("the process that calls the module", () => {
  const uri = parsePkcs11Uri("pkcs11:object=root?module-path=/usr/lib/none.so");
  const script = (source: string): URL => {
    const path = join(process.env["TMPDIR"] ?? "/tmp", `countersign-module-${randomBytes(6).toString("hex")}.mjs`);
    writeFileSync(path, source);
    scripts.push(path);
    return pathToFileURL(path);
  };
  const scripts: string[] = [];
  afterAll(() => scripts.forEach((path) => rmSync(path)));

  test("is ended when the module hangs", async () => {
    const hanging = script("setInterval(() => {}, 1000);");
    await expect(pkcs11PublicKey(uri, { pin: "1234", timeoutMs: 300, entry: hanging })).rejects.toMatchObject({ code: "signer_unavailable", message: expect.stringContaining("0.3 s") });
  });

  test("takes nothing along when the module crashes", async () => {
    const crashing = script("process.kill(process.pid, 'SIGSEGV'); setInterval(() => {}, 1000);");
    await expect(pkcs11PublicKey(uri, { pin: "1234", entry: crashing })).rejects.toMatchObject({ code: "signer_unavailable", message: expect.stringContaining("SIGSEGV") });
  });

  test("does not even start without a PIN", async () => {
    await expect(pkcs11PublicKey(uri, {})).rejects.toMatchObject({ code: "key_refused", message: expect.stringContaining("COUNTERSIGN_PKCS11_PIN") });
  });
});
