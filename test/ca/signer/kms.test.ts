import { CreateKeyCommand, DisableKeyCommand, KMSClient, ScheduleKeyDeletionCommand, type KeySpec } from "@aws-sdk/client-kms";
import { createPublicKey, generateKeyPairSync, hash, randomBytes } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { signatureAlgorithmFor, verifySignature } from "../../../ca/pki/key.ts";
import { checkKmsKey, kmsSigner, openKms, type Kms } from "../../../ca/signer/kms.ts";
import { spkiOf } from "../../support/kms-operations.ts";
import { startKmsServer, type KmsServer } from "../../support/kms-server.ts";

let server: KmsServer;
let kms: Kms;
beforeAll(async () => {
  server = await startKmsServer();
});
afterAll(() => server.close());
const limits = { callTimeoutMs: 2000, attempts: 4, attemptsWhenUnknown: 4, firstDelayMs: 1, maxDelayMs: 4 };
const message = randomBytes(10_000);

/** The same claims about our server and about a KMS that is given. */
const outsideEndpoint = process.env["COUNTERSIGN_TEST_KMS_ENDPOINT"];
describe.each(["test/support/kms-server.ts", ...(outsideEndpoint === undefined ? [] : [outsideEndpoint])])("with %s", (where) => {
  let admin: KMSClient;
  let open: Kms;
  beforeAll(() => {
    if (where !== outsideEndpoint) Object.assign(process.env, server.env);
    const endpoint = where === outsideEndpoint ? where : server.endpoint;
    admin = new KMSClient({ endpoint });
    open = openKms({ endpoint, limits: { ...limits, firstDelayMs: 50, maxDelayMs: 1000 } });
  });
  afterAll(() => {
    open.close();
    admin.destroy();
  });
  const create = async (spec: KeySpec, usage: "SIGN_VERIFY" | "ENCRYPT_DECRYPT" = "SIGN_VERIFY"): Promise<string> =>
    (await admin.send(new CreateKeyCommand({ KeySpec: spec, KeyUsage: usage }))).KeyMetadata?.KeyId ?? "";

  // Our own server makes its RSA keys at the test's expense: seconds for the longer ones.
  const specs: readonly KeySpec[] = ["ECC_NIST_P256", "ECC_NIST_P384", "RSA_2048", ...(where === outsideEndpoint ? (["RSA_3072", "RSA_4096"] as const) : [])];
  test.each(specs)(
    "a %s key signs a message longer than KMS takes", async (spec) => {
      const { arn, spki } = await open.publicKey(await create(spec));
      const signer = kmsSigner(open, arn, spki);
      const publicKey = createPublicKey({ key: spki as Buffer, format: "der", type: "spki" });
      expect(verifySignature(signatureAlgorithmFor(signer.keyAlgorithm), publicKey, message, await signer.sign(message))).toBe(true);
    });

  test("a key that cannot sign, or of a spec we do not take, is refused when it is looked at", async () => {
    for (const keyId of [await create("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), await create("RSA_2048", "ENCRYPT_DECRYPT"), await create("ECC_NIST_P521")]) {
      await expect(open.publicKey(keyId)).rejects.toMatchObject({ code: "key_unfit" });
    }
  });

  test("a disabled key and one pending deletion do not sign", async () => {
    const keyId = await create("ECC_NIST_P256");
    const { arn, spki } = await open.publicKey(keyId);
    const signer = kmsSigner(open, arn, spki);
    await admin.send(new DisableKeyCommand({ KeyId: keyId }));
    await expect(signer.sign(message)).rejects.toMatchObject({ code: "key_disabled" });
    await admin.send(new ScheduleKeyDeletionCommand({ KeyId: keyId, PendingWindowInDays: 7 }));
    await expect(signer.sign(message)).rejects.toMatchObject({ code: "key_disabled", message: expect.stringContaining("cancel-key-deletion") });
  });

  test("a key that there is not is named", async () => {
    const keyId = "00000000-0000-4000-8000-000000000000";
    await expect(open.publicKey(keyId)).rejects.toMatchObject({ code: "key_unknown", message: expect.stringContaining(keyId) });
  });

  test("a data key unwraps in its own context only, and not when altered", async () => {
    const keyId = await create("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    const { key, wrapped, arn } = await open.generateDataKey(keyId, { ca: "east" });
    expect(key).toHaveLength(32);
    expect(Buffer.from(await open.decrypt(arn, wrapped, { ca: "east" })).equals(key)).toBe(true);
    await expect(open.decrypt(arn, wrapped, { ca: "west" })).rejects.toMatchObject({ code: "sealed_data_altered" });
    const altered = Uint8Array.from(wrapped);
    altered[altered.length - 1]! ^= 1;
    await expect(open.decrypt(arn, altered, { ca: "east" })).rejects.toMatchObject({ code: "sealed_data_altered" });
  });
});

describe("the KMS signer", () => {
  beforeEach(() => {
    Object.assign(process.env, server.env);
    kms = openKms({ endpoint: server.endpoint, limits });
  });
  afterEach(() => {
    kms.close();
    Object.assign(server.faults, { throttleNext: 0, unknownNext: 0, internalNext: 0, delayMs: 0, hold: undefined });
  });

  test.each(["throttleNext", "unknownNext", "internalNext"] as const)("outlasts %s, up to a bound", async (fault) => {
    const { arn, spki } = server.createKey("ECC_NIST_P256");
    const signer = kmsSigner(kms, arn, spki);
    server.faults[fault] = 3;
    await signer.sign(message);
    server.faults[fault] = 1000;
    const before = server.calls.length;
    await expect(signer.sign(message)).rejects.toMatchObject({ code: fault === "unknownNext" ? "key_unknown" : "signer_unavailable" });
    expect(server.calls.length - before).toBe(4);
  });

  test("does not repeat what cannot pass by itself", async () => {
    const { keyId } = server.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    const before = server.calls.length;
    await expect(kms.publicKey(keyId)).rejects.toMatchObject({ code: "key_unfit" });
    expect(server.calls.length - before).toBe(1);
  });

  test("says when KMS is away, or does not answer in time", async () => {
    const { arn, spki } = server.createKey("ECC_NIST_P256");
    const hasty = openKms({ endpoint: server.endpoint, limits: { ...limits, callTimeoutMs: 50, attempts: 2 } });
    server.faults.delayMs = 10_000;
    await expect(kmsSigner(hasty, arn, spki).sign(message)).rejects.toMatchObject({ code: "signer_unavailable", message: expect.stringContaining("no answer in time") });
    hasty.close();
    server.faults.delayMs = 0;
    await server.down();
    await expect(kmsSigner(kms, arn, spki).sign(message)).rejects.toMatchObject({ code: "signer_unavailable" });
    await server.up();
    await kmsSigner(kms, arn, spki).sign(message);
  });

  test("throws away a signature that is not by the pinned key", async () => {
    const key = server.createKey("ECC_NIST_P256");
    const signer = kmsSigner(kms, key.arn, key.spki);
    key.privateKey = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    await expect(signer.sign(message)).rejects.toMatchObject({ code: "signature_wrong" });
  });

  test("notices at the start that a name has come to mean another key", async () => {
    const key = server.createKey("ECC_NIST_P256");
    await checkKmsKey(kms, key.arn, key.spki);
    const { spki } = key;
    key.spki = spkiOf(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey);
    await expect(checkKmsKey(kms, key.arn, spki)).rejects.toMatchObject({ code: "key_changed" });
  });

  test("wrong credentials are told, not retried", async () => {
    const { keyId } = server.createKey("ECC_NIST_P256");
    process.env["AWS_SECRET_ACCESS_KEY"] = "another";
    const before = server.calls.length;
    await expect(kms.publicKey(keyId)).rejects.toMatchObject({ code: "key_refused" });
    expect(server.calls.slice(before).map(({ outcome }) => outcome)).toEqual(["InvalidSignatureException"]);
  });

  test("a key in clear never comes over plain HTTP from elsewhere", () => {
    expect(() => openKms({ endpoint: "http://kms.example" })).toThrow(expect.objectContaining({ code: "key_location_malformed" }));
    expect(() => openKms({ endpoint: "https://kms.example" })).not.toThrow();
  });

  test("ends what is under way when it is closed", async () => {
    const { arn, spki } = server.createKey("ECC_NIST_P256");
    const closing = openKms({ endpoint: server.endpoint, limits: { ...limits, callTimeoutMs: 60_000 } });
    const asked = new Promise<void>((resolve) => (server.faults.hold = { then: () => resolve() } as unknown as Promise<void>));
    const signing = kmsSigner(closing, arn, spki).sign(message);
    await asked;
    closing.close();
    await expect(signing).rejects.toMatchObject({ code: "signer_unavailable" });
  });
});

describe("the KMS of the tests", () => {
  const post = async (body: object, headers: Record<string, string>) =>
    (await fetch(server.endpoint, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/x-amz-json-1.1", ...headers } })).json();

  test("refuses what is not signed, or not by the credentials it knows", async () => {
    expect(await post({ KeyId: "x" }, { "x-amz-target": "TrentService.Sign" })).toMatchObject({ __type: "MissingAuthenticationTokenException" });
    const authorization = `AWS4-HMAC-SHA256 Credential=AKIANOBODY/20260101/eu-test-1/kms/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=${"0".repeat(64)}`;
    expect(await post({ KeyId: "x" }, { "x-amz-target": "TrentService.Sign", authorization })).toMatchObject({ __type: "UnrecognizedClientException" });
  });

  test("takes 4096 bytes as a message and no more, and a digest of the right length only", async () => {
    Object.assign(process.env, server.env);
    const { KMSClient, SignCommand } = await import("@aws-sdk/client-kms");
    const client = new KMSClient({ endpoint: server.endpoint, maxAttempts: 1 });
    const { arn, spki, keyId } = server.createKey("ECC_NIST_P256");
    const sign = (Message: Uint8Array, MessageType: "RAW" | "DIGEST") => client.send(new SignCommand({ KeyId: keyId, Message, MessageType, SigningAlgorithm: "ECDSA_SHA_256" }));
    const { Signature } = await sign(randomBytes(4096), "RAW");
    expect(Signature).toBeDefined();
    await expect(sign(randomBytes(4097), "RAW")).rejects.toMatchObject({ name: "ValidationException" });
    await expect(sign(randomBytes(20), "DIGEST")).rejects.toMatchObject({ name: "ValidationException" });
    // Both ways of asking make signatures that the same key verifies.
    const publicKey = createPublicKey({ key: spki as Buffer, format: "der", type: "spki" });
    const { Signature: ofDigest = new Uint8Array() } = await sign(hash("sha256", message, "buffer"), "DIGEST");
    expect(verifySignature("ecdsa-sha256", publicKey, message, ofDigest)).toBe(true);
    expect(arn).toContain(keyId);
    client.destroy();
  });
});
