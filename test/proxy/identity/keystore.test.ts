import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { KeystoreError, openKeystore, type StoredIdentity } from "../../../proxy/identity/keystore.ts";

let parent: string;
let dir: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), "countersign-keystore-"));
  dir = join(parent, "state");
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const stored: StoredIdentity = {
  privateKeyPem: "-----BEGIN PRIVATE KEY-----\nsecret\n", chainPem: "chain", bundles: { east: "{}" }, trustDomain: "east", caUrl: "https://ca", bootstrapHash: "aa",
};
const codeOf = (act: () => unknown): string | undefined => {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(KeystoreError);
    expect((error as Error).message).not.toContain("secret");
    return (error as KeystoreError).code;
  }
  return undefined;
};

describe("the state directory", () => {
  test("is made for us alone, and gives back what was saved", () => {
    const keystore = openKeystore(dir);
    expect(keystore.load()).toBeUndefined();
    keystore.save(stored);
    keystore.save({ ...stored, chainPem: "second" });
    expect(openKeystore(dir).load()).toMatchObject({ ...stored, chainPem: "second" });
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    expect(readdirSync(dir)).toEqual(["identity.json"]);
    expect(statSync(join(dir, "identity.json")).mode & 0o777).toBe(0o600);
  });

  test("gives back a list of revocations, to whoever still has its bootstrap string", () => {
    const keystore = openKeystore(dir);
    expect(keystore.loadRevocations()).toBeUndefined();
    // More than one write may take at once.
    const entries = Array.from({ length: 50_000 }, (_, index) => [index.toString(16).padStart(32, "0"), 1_900_000_000_000 + index] as const);
    const list = { entries, sequence: 7, completeAtMs: 1_800_000_000_000, bootstrapHash: "aa" };
    keystore.saveRevocations(list);
    expect(openKeystore(dir).loadRevocations()).toMatchObject(list);
    expect(statSync(join(dir, "revocations.json")).mode & 0o777).toBe(0o600);
    keystore.save(stored);
    expect(readdirSync(dir).sort()).toEqual(["identity.json", "revocations.json"]);
  });

  test("a list of revocations that is none of ours, or that others could change, is refused", () => {
    const keystore = openKeystore(dir);
    const list = { version: 1, entries: [["0a", 1]], sequence: 7, completeAtMs: 1, bootstrapHash: "aa" };
    for (const fault of [{ entries: [["0a"]] }, { entries: [["0A", 1]] }, { entries: {} }, { sequence: -1 }, { sequence: "7" }, { completeAtMs: null }, { bootstrapHash: 1 }, { version: 2 }]) {
      writeFileSync(join(dir, "revocations.json"), JSON.stringify({ ...list, ...fault }), { mode: 0o600 });
      expect(codeOf(() => keystore.loadRevocations()), JSON.stringify(fault)).toBe("keystore_unreadable");
    }
    writeFileSync(join(dir, "revocations.json"), JSON.stringify(list));
    expect(keystore.loadRevocations()).toMatchObject({ sequence: 7 });
    chmodSync(join(dir, "revocations.json"), 0o660);
    expect(codeOf(() => keystore.loadRevocations())).toBe("keystore_exposed");
  });

  test("that others may enter is refused", () => {
    openKeystore(dir).save(stored);
    chmodSync(dir, 0o750);
    expect(codeOf(() => openKeystore(dir))).toBe("keystore_exposed");
  });

  test("with a file that others may read is refused", () => {
    openKeystore(dir).save(stored);
    chmodSync(join(dir, "identity.json"), 0o640);
    expect(codeOf(() => openKeystore(dir).load())).toBe("keystore_exposed");
  });

  test("with a folder or a link where the file should be is refused", () => {
    const keystore = openKeystore(dir);
    mkdirSync(join(dir, "identity.json"), { mode: 0o700 });
    expect(codeOf(() => keystore.load())).toBe("keystore_exposed");
    rmSync(join(dir, "identity.json"), { recursive: true });
    writeFileSync(join(parent, "elsewhere"), JSON.stringify({ version: 1, ...stored }), { mode: 0o600 });
    symlinkSync(join(parent, "elsewhere"), join(dir, "identity.json"));
    expect(codeOf(() => keystore.load())).toBe("keystore_exposed");
  });

  test("a save that fails leaves what was there before", () => {
    const keystore = openKeystore(dir);
    keystore.save(stored);
    mkdirSync(join(dir, "identity.json.new"));
    expect(codeOf(() => keystore.save({ ...stored, chainPem: "second" }))).toBe("keystore_unwritable");
    expect(keystore.load()).toMatchObject(stored);
  });

  test("a leftover of a save that was cut off is no obstacle and no identity", () => {
    const keystore = openKeystore(dir);
    keystore.save(stored);
    writeFileSync(join(dir, "identity.json.new"), "{half", { mode: 0o644 });
    expect(keystore.load()).toMatchObject(stored);
    keystore.save({ ...stored, chainPem: "third" });
    expect(keystore.load()?.chainPem).toBe("third");
    expect(statSync(join(dir, "identity.json")).mode & 0o777).toBe(0o600);
  });

  test("what is not an identity of ours is refused without showing it", () => {
    const keystore = openKeystore(dir);
    for (const text of ["secret{", "[]", "7", JSON.stringify({ ...stored, version: 2 }), JSON.stringify({ ...stored, version: 1, bundles: { east: 7 } })]) {
      writeFileSync(join(dir, "identity.json"), text, { mode: 0o600 });
      expect(codeOf(() => keystore.load())).toBe("keystore_unreadable");
    }
  });
});
