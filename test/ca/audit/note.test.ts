import { generateKeyPairSync, hash, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { AuditError } from "../../../ca/audit/errors.ts";
import { encodeSignatureLine, encodeVerifierKey, parseNote, parseVerifierKey, verifyNote } from "../../../ca/audit/note.ts";

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof AuditError) return error.code;
    throw error;
  }
  return "accepted";
};

/** https://github.com/C2SP/C2SP/blob/main/signed-note.md, "Example" */
const vector = {
  verifierKey: "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
  note: "This is an example message.\n\n" +
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n",
};

function newSigner(name: string) {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const verifierKey = encodeVerifierKey(name, Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url"));
  const key = parseVerifierKey(verifierKey);
  const line = (text: string) =>
    encodeSignatureLine({ name, keyId: key.keyId, signature: sign(null, Buffer.from(text), privateKey) });
  return { key, line };
}

describe("a signed note", () => {
  test("of the specification verifies with its key", () => {
    const key = parseVerifierKey(vector.verifierKey);
    expect(verifyNote(parseNote(vector.note), [key])).toEqual([key]);
    expect(key).toMatchObject({ name: "example.com/foo", keyId: "530d903a" });
  });

  test("with another text under the same signature is refused", () => {
    const key = parseVerifierKey(vector.verifierKey);
    expect(codeOf(() => verifyNote(parseNote(vector.note.replace("an", "no")), [key]))).toBe("note_signature_invalid");
  });

  test("verifies by the key that is known, whoever else has signed", () => {
    const [ours, theirs] = [newSigner("ours"), newSigner("theirs")];
    const note = parseNote(`text\n\n${theirs.line("text\n")}${ours.line("text\n")}`);
    expect(verifyNote(note, [ours.key])).toEqual([ours.key]);
    expect(verifyNote(note, [ours.key, theirs.key])).toHaveLength(2);
  });

  test("is refused when one known key did not sign this text, though another did", () => {
    const [ours, theirs] = [newSigner("ours"), newSigner("theirs")];
    const note = parseNote(`text\n\n${ours.line("text\n")}${theirs.line("other\n")}`);
    expect(codeOf(() => verifyNote(note, [ours.key, theirs.key]))).toBe("note_signature_invalid");
  });

  test("is refused when no known key has signed, and when no key is known", () => {
    const [ours, theirs] = [newSigner("ours"), newSigner("theirs")];
    const note = parseNote(`text\n\n${theirs.line("text\n")}`);
    expect(codeOf(() => verifyNote(note, [ours.key]))).toBe("note_unverified");
    expect(codeOf(() => verifyNote(note, []))).toBe("note_unverified");
  });

  test("a key of the same name is another key", () => {
    const [ours, impostor] = [newSigner("log"), newSigner("log")];
    expect(codeOf(() => verifyNote(parseNote(`text\n\n${impostor.line("text\n")}`), [ours.key]))).toBe("note_unverified");
  });

  test("may carry sixteen signatures and more, up to 64", () => {
    const ours = newSigner("ours");
    const others = Array.from({ length: 64 }, (_, index) => newSigner(`witness-${index}`).line("text\n"));
    for (const count of [15, 63]) {
      const note = parseNote(`text\n\n${others.slice(0, count).join("")}${ours.line("text\n")}`);
      expect(note.signatures).toHaveLength(count + 1);
      expect(verifyNote(note, [ours.key])).toEqual([ours.key]);
    }
    expect(codeOf(() => parseNote(`text\n\n${others.join("")}${ours.line("text\n")}`))).toBe("note_limit_exceeded");
  });

  test("may have empty lines in its text, which ends at the last one", () => {
    const ours = newSigner("ours");
    const note = parseNote(`one\n\ntwo\n\n${ours.line("one\n\ntwo\n")}`);
    expect(note.text).toBe("one\n\ntwo\n");
    expect(verifyNote(note, [ours.key])).toEqual([ours.key]);
  });

  const line = "— name AAAAAAA=\n";
  test.each([
    ["nothing at all", ""],
    ["no signature", "text\n\n"],
    ["no empty line", `text\n${line}`],
    ["no newline at its end", `text\n\n${line.trimEnd()}`],
    ["a line that is no signature", `text\n\n${line}more\n`],
    ["a hyphen for the dash", `text\n\n${line.replace("—", "-")}`],
    ["a signature of no bytes", "text\n\n— name AAAAAA==\n"],
    ["base64 without padding", "text\n\n— name AAAAAAA\n"],
    ["base64 with stray bits", "text\n\n— name AAAAAAB=\n"],
    ["a plus in a key name", `text\n\n${line.replace("name", "na+me")}`],
    ["a Unicode space in a key name", `text\n\n${line.replace("name", "na\u2003me")}`],
    ["a carriage return", `text\r\n\n${line}`],
    ["a NUL", `te\0xt\n\n${line}`],
    ["half a surrogate pair", `te\ud800xt\n\n${line}`],
  ])("with %s is malformed", (_, note) => {
    expect(codeOf(() => parseNote(note))).toBe("note_malformed");
  });

  test("of more than 64 KiB is refused unread", () => {
    expect(codeOf(() => parseNote(`${"é".repeat(32 * 1024)}\n\n${line}`))).toBe("note_limit_exceeded");
  });
});

describe("a verifier key", () => {
  test("is written as it is read", () => {
    const raw = Buffer.from(vector.verifierKey.split("+")[2]!, "base64").subarray(1);
    expect(encodeVerifierKey("example.com/foo", raw)).toBe(vector.verifierKey);
  });

  const typed = (type: number, length: number) => {
    const key = Buffer.alloc(1 + length, 7);
    key[0] = type;
    const id = hash("sha256", Buffer.concat([Buffer.from("log\n"), key])).slice(0, 8);
    return `log+${id}+${key.toString("base64")}`;
  };
  test.each([
    ["an ID that is not its key's", vector.verifierKey.replace("530d903a", "530d903b"), "verifier_key_malformed"],
    ["another name than the ID was made with", vector.verifierKey.replace("foo", "bar"), "verifier_key_malformed"],
    ["a key cut short", vector.verifierKey.slice(0, -4), "verifier_key_malformed"],
    ["a space in its name", vector.verifierKey.replace("foo", "f o"), "verifier_key_malformed"],
    ["a trailing newline", `${vector.verifierKey}\n`, "verifier_key_malformed"],
    ["no key", "example.com/foo+530d903a", "verifier_key_malformed"],
    ["a type that is not Ed25519's", typed(4, 32), "verifier_key_unsupported"],
    ["31 bytes", typed(1, 31), "verifier_key_unsupported"],
  ])("with %s is refused", (_, key, code) => {
    expect(codeOf(() => parseVerifierKey(key))).toBe(code);
  });

  test("has no name that a signature line could not carry", () => {
    for (const name of ["", "a b", "a+b", "a\nb"]) expect(codeOf(() => encodeVerifierKey(name, new Uint8Array(32)))).toBe("verifier_key_malformed");
  });
});
