import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { describe, expect, test } from "vitest";
import { encodeAddCheckpoint, parseAddCheckpoint } from "../../../ca/audit/add-checkpoint.ts";
import { logCosigner, verifyCosignature } from "../../../ca/audit/cosignature.ts";
import { AuditError } from "../../../ca/audit/errors.ts";
import { parseNote, parseVerifierKey, verifyNote } from "../../../ca/audit/note.ts";
import { verifyLog } from "../../../ca/audit/verify.ts";
import { forkedLog, newestOf, truncated } from "../../support/forked-log.ts";
import { memoryReader } from "../../support/memory-log.ts";

const logPrivateKeyPkcs8 = generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" });
const name = "countersign.dev/west/witness";
const west = logCosigner({ name, logPrivateKeyPkcs8 });
const north = logCosigner({ name: "countersign.dev/north/witness", logPrivateKeyPkcs8: generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" }) });
const key = parseVerifierKey(west.verifierKey, "cosignature");
const atMs = 1_679_315_147_000;
const forked = forkedLog();
const codeOf = (act: () => unknown): string => {
  try {
    act();
    return "accepted";
  } catch (error) {
    if (error instanceof AuditError) return error.code;
    throw error;
  }
};

describe("AUD-11: a cosignature", () => {
  test("is over header, time and note, with its time in 8 bytes before 64, under a key ID of type 4", async () => {
    const { note } = await newestOf(forked.told);
    const { text } = parseNote(note);
    const line = west.cosign(text, atMs + 999);
    const [, encoded = ""] = /^— countersign\.dev\/west\/witness (.*)\n$/.exec(line) ?? [];
    const bytes = Buffer.from(encoded, "base64");
    const publicKey = Buffer.from(west.verifierKey.split("+").slice(2).join("+"), "base64");
    expect([bytes.length, publicKey.length, publicKey[0]]).toEqual([4 + 8 + 64, 33, 4]);
    expect(bytes.subarray(0, 4)).toEqual(createHash("sha256").update(`${name}\n`).update(publicKey).digest().subarray(0, 4));
    expect(bytes.readBigUInt64BE(4)).toBe(1_679_315_147n);
    const ed25519 = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: publicKey.subarray(1).toString("base64url") }, format: "jwk" });
    expect(verify(null, Buffer.from(`cosignature/v1\ntime 1679315147\n${text}`), ed25519, bytes.subarray(12))).toBe(true);
  });

  test("is found among other signatures, and tells when it was made", async () => {
    const { note } = await newestOf(forked.told);
    const { text } = parseNote(note);
    const cosigned = parseNote(note + north.cosign(text, atMs) + west.cosign(text, atMs) + west.cosign(text, atMs + 5000));
    expect(verifyCosignature(cosigned, key)).toBe(atMs + 5000);
    expect(verifyNote(cosigned, [parseVerifierKey(forked.verifierKey)])).toHaveLength(1);
  });

  test("by another, over another text, at another time or cut off is refused", async () => {
    const { note } = await newestOf(forked.told);
    const { text } = parseNote(note);
    const [line, other] = [west.cosign(text, atMs), west.cosign(parseNote((await newestOf(forked.rewritten)).note).text, atMs)];
    const bytes = Buffer.from(/ ([^ ]+)\n$/.exec(line)![1]!, "base64");
    const with_ = (changed: Buffer): string => `${note}— ${name} ${changed.toString("base64")}\n`;
    const later = Buffer.from(bytes);
    later[11]! += 1;
    expect([
      codeOf(() => verifyCosignature(parseNote(note), key)), codeOf(() => verifyCosignature(parseNote(note + north.cosign(text, atMs)), key)),
      codeOf(() => verifyCosignature(parseNote(note + other), key)), codeOf(() => verifyCosignature(parseNote(with_(later)), key)),
      codeOf(() => verifyCosignature(parseNote(with_(bytes.subarray(0, 70))), key)),
    ]).toEqual(["note_unverified", "note_unverified", "note_signature_invalid", "note_signature_invalid", "note_signature_invalid"]);
  });

  test("is by a key that is not the log's, and always the same one", () => {
    expect(logCosigner({ name, logPrivateKeyPkcs8 }).verifierKey).toBe(west.verifierKey);
    const { x } = createPublicKey(createPrivateKey({ key: logPrivateKeyPkcs8, format: "der", type: "pkcs8" })).export({ format: "jwk" });
    expect(key.publicKey.export({ format: "jwk" })["x"]).not.toBe(x);
    expect([codeOf(() => parseVerifierKey(west.verifierKey)), codeOf(() => parseVerifierKey(forked.verifierKey, "cosignature"))]).toEqual(["verifier_key_unsupported", "verifier_key_unsupported"]);
  });
});

describe("AUD-10: an add-checkpoint request", () => {
  test("is written as the specification shows it, and read back", () => {
    const proof = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
    const request = { oldSize: 7, proof, note: "origin\n9\nroot\n\n— x y\n" };
    const [first, ...rest] = encodeAddCheckpoint(request).split("\n");
    expect([first, rest.slice(0, 3), rest.slice(3).join("\n")]).toEqual(["old 7", [...proof.map((hash) => hash.toString("base64")), ""], request.note]);
    expect(parseAddCheckpoint(encodeAddCheckpoint(request))).toEqual(request);
    expect(parseAddCheckpoint(encodeAddCheckpoint({ ...request, proof: [] }))).toEqual({ ...request, proof: [] });
  });

  test.each(["", "old 7", "old 07\n\nx", "old -1\n\nx", "old 1e3\n\nx", "new 7\n\nx", "old 7\nAA==\n\nx", `old 7\n${`${Buffer.alloc(32).toString("base64")}\n`.repeat(64)}\nx`])("%j is none", (body) => {
    expect(codeOf(() => parseAddCheckpoint(body))).toBe("note_malformed");
  });
});

describe("verifying a log against what witnesses cosigned", () => {
  const cosigned = async (rows: typeof forked.told, by = west) => {
    const { note } = await newestOf(rows);
    return { witnessKey: by.verifierKey, note: note + by.cosign(parseNote(note).text, atMs) };
  };
  const verdict = async (rows: typeof forked.told, witnessed: readonly { readonly witnessKey: string; readonly note: string }[]) => (
    verifyLog({ store: memoryReader(structuredClone(rows)), verifierKey: forked.verifierKey, witnessed })
  );

  test("a log that went on since fits", async () => {
    const size = forked.told.checkpoints.at(-3)!.size;
    expect(await verdict(forked.told, [await cosigned(truncated(forked.told, size)), await cosigned(forked.told, north)])).toMatchObject({ ok: true, outsideCheckpoints: 2 });
  });

  test("a log that was rewritten, key and all, does not; without the witness nothing is to be seen", async () => {
    expect(await verdict(forked.rewritten, [await cosigned(forked.told)])).toMatchObject({ ok: false, kind: expect.stringMatching(/^(forked|truncated|altered)$/) as string });
    expect(await verdict(truncated(forked.rewritten, forked.forkedAt), [])).not.toMatchObject({ kind: "forked" });
  });

  test("a log whose end was cut off does not", async () => {
    const size = forked.told.checkpoints.at(-5)!.size;
    expect(await verdict(truncated(forked.told, size), [await cosigned(forked.told)])).toMatchObject({ ok: false, kind: "truncated" });
  });

  test("a log that was shown differently to two of them fits one, and so does not fit", async () => {
    const views = [await cosigned(forked.told, west), await cosigned(forked.rewritten, north)];
    for (const rows of [forked.told, forked.rewritten]) expect(await verdict(rows, views)).toMatchObject({ ok: false });
  });

  test("what the witness did not sign is no witness's, and verifies nothing", async () => {
    const { note } = await newestOf(forked.told);
    await expect(verdict(forked.told, [{ witnessKey: west.verifierKey, note }])).rejects.toMatchObject({ code: "note_unverified" });
    await expect(verdict(forked.told, [{ ...await cosigned(forked.told, north), witnessKey: west.verifierKey }])).rejects.toMatchObject({ code: "note_unverified" });
  });
});
