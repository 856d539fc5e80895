import { generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import { checkpointSigner, encodeCheckpoint, parseCheckpoint } from "../../../ca/audit/checkpoint.ts";
import { AuditError } from "../../../ca/audit/errors.ts";
import { hashLeaf } from "../../../ca/audit/merkle.ts";
import { parseNote, parseVerifierKey, verifyNote } from "../../../ca/audit/note.ts";

const origin = "countersign.dev/east/log";
const pkcs8Of = (type: "ed25519" | "x25519") =>
  generateKeyPairSync(type as "ed25519").privateKey.export({ format: "der", type: "pkcs8" });
const root = Buffer.from(hashLeaf("root"));

describe("a checkpoint", () => {
  test("signed by the log is read back and verifies with the log's verifier key", () => {
    const signer = checkpointSigner({ origin, privateKeyPkcs8: pkcs8Of("ed25519") });
    const note = parseNote(signer.sign(20_852_163, root));
    expect(verifyNote(note, [parseVerifierKey(signer.verifierKey)])).toHaveLength(1);
    expect(parseCheckpoint(note)).toEqual({ origin, size: 20_852_163, root });
    expect(note.text).toBe(`${origin}\n20852163\n${root.toString("base64")}\n`);
  });

  test("of the empty log and of the largest one are read back", () => {
    for (const size of [0, Number.MAX_SAFE_INTEGER]) {
      expect(parseCheckpoint({ text: encodeCheckpoint({ origin, size, root }) }).size).toBe(size);
    }
  });

  const base64 = root.toString("base64");
  test.each([
    ["no origin", `\n1\n${base64}\n`],
    ["a leading zero", `${origin}\n01\n${base64}\n`],
    ["a negative size", `${origin}\n-1\n${base64}\n`],
    ["a size in hex", `${origin}\n0x1\n${base64}\n`],
    ["a size too large to count with", `${origin}\n9007199254740992\n${base64}\n`],
    ["a short root", `${origin}\n1\n${root.toString("base64").slice(4)}\n`],
    ["a root in base64url", `${origin}\n1\n${base64.replace("=", "")}\n`],
    ["no root", `${origin}\n1\n`],
    ["an extension line", `${origin}\n1\n${base64}\nmore\n`],
    ["an empty line and more", `${origin}\n1\n${base64}\n\nmore\n`],
    ["no last newline", `${origin}\n1\n${base64}`],
  ])("with %s is malformed", (_, text) => {
    expect(() => parseCheckpoint({ text })).toThrow(expect.objectContaining({ code: "checkpoint_malformed" }));
  });

  test("is not signed over what is no size or no root", () => {
    const signer = checkpointSigner({ origin, privateKeyPkcs8: pkcs8Of("ed25519") });
    expect(() => signer.sign(-1, root)).toThrow(RangeError);
    expect(() => signer.sign(1.5, root)).toThrow(RangeError);
    expect(() => signer.sign(1, root.subarray(1))).toThrow(RangeError);
  });

  test("is signed by Ed25519 keys with a name that fits a signature line only", () => {
    expect(() => checkpointSigner({ origin, privateKeyPkcs8: pkcs8Of("x25519") })).toThrow(AuditError);
    expect(() => checkpointSigner({ origin: "two words", privateKeyPkcs8: pkcs8Of("ed25519") })).toThrow(AuditError);
  });
});
