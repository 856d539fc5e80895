import { generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import { importPublicKey, signatureAlgorithmFor, verifySignature } from "../../../ca/pki/key.ts";
import { generatePrivateKey, softwareSigner } from "../../../ca/signer/software.ts";

describe("a software signer", () => {
  test.each([
    ["ec-p256", () => generatePrivateKey("ec-p256")],
    ["ec-p384", () => generatePrivateKey("ec-p384")],
    ["ed25519", () => generateKeyPairSync("ed25519").privateKey],
    ["rsa-2048", () => generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey],
  ] as const)("with a key of type %s makes signatures that verify", (keyAlgorithm, makeKey) => {
    const signer = softwareSigner(makeKey());
    const message = Buffer.from("to be signed");
    const { publicKey } = importPublicKey(signer.spki);
    expect(signer.keyAlgorithm).toBe(keyAlgorithm);
    expect(verifySignature(signatureAlgorithmFor(keyAlgorithm), publicKey, message, signer.sign(message))).toBe(true);
  });

  test("refuses a key that is weak or of a kind nobody verifies", () => {
    expect(() => softwareSigner(generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey)).toThrow(expect.objectContaining({ code: "public_key_weak" }));
    expect(() => softwareSigner(generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey)).toThrow(expect.objectContaining({ code: "public_key_unsupported" }));
  });
});
