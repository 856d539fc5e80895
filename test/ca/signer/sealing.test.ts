import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readSecretFile } from "../../../ca/signer/key-file.ts";
import { createSealing, loadSealing } from "../../../ca/signer/sealing.ts";
import { disown } from "../../support/disown.ts";

const secret = Buffer.from("a private key");
const key = randomBytes(32);
const what = "private key of authority 01";

describe("sealing", () => {
  test("gives back what was sealed, and shows nothing of it", () => {
    const sealed = createSealing(key).seal(what, secret);
    expect(Buffer.from(sealed).includes(secret)).toBe(false);
    expect(Buffer.from(createSealing(key).unseal(what, sealed))).toEqual(secret);
  });

  test("never makes the same blob twice", () => {
    const { seal } = createSealing(key);
    expect(seal(what, secret)).not.toEqual(seal(what, secret));
  });

  test("refuses another key by name, so that an operator knows what to look for", () => {
    const sealed = createSealing(randomBytes(32)).seal(what, secret);
    expect(() => createSealing(key).unseal(what, sealed)).toThrow(expect.objectContaining({ code: "sealing_key_wrong" }));
  });

  test("refuses a blob moved to another place", () => {
    const { seal, unseal } = createSealing(key);
    expect(() => unseal("private key of authority 02", seal(what, secret))).toThrow(expect.objectContaining({ code: "sealed_data_altered" }));
  });

  test("refuses every altered octet and every cut, with a code", () => {
    const { seal, unseal } = createSealing(key);
    const sealed = seal(what, secret);
    for (let index = 0; index < sealed.length; index++) {
      const altered = Uint8Array.from(sealed);
      altered[index]! ^= 1;
      expect(() => unseal(what, altered)).toThrow(expect.objectContaining({ name: "SignerError" }));
      expect(() => unseal(what, sealed.subarray(0, index))).toThrow(expect.objectContaining({ name: "SignerError" }));
    }
  });

  test("refuses a format of a later version instead of misreading it", () => {
    const sealed = createSealing(key).seal(what, secret);
    sealed[0] = 2;
    expect(() => createSealing(key).unseal(what, sealed)).toThrow(expect.objectContaining({ code: "sealed_format_unknown" }));
  });
});

describe("the sealing key", () => {
  let folder: string;
  let sealingKeyPath: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "countersign-sealing-"));
    sealingKeyPath = join(folder, "data", "sealing.key");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test("is made at the first start, for its owner alone, and found at the second", () => {
    const sealed = loadSealing({ sealingKey: undefined, sealingKeyPath }, { create: true }).seal(what, secret);
    expect(statSync(sealingKeyPath).mode & 0o777).toBe(0o600);
    expect(Buffer.from(loadSealing({ sealingKey: undefined, sealingKeyPath }, { create: false }).unseal(what, sealed))).toEqual(secret);
  });

  test("that exists is never replaced", () => {
    loadSealing({ sealingKey: undefined, sealingKeyPath }, { create: true });
    const before = readFileSync(sealingKeyPath, "utf8");
    loadSealing({ sealingKey: undefined, sealingKeyPath }, { create: true });
    expect(readFileSync(sealingKeyPath, "utf8")).toBe(before);
  });

  test("that is lost is not replaced by a new one behind the operator's back", () => {
    expect(() => loadSealing({ sealingKey: undefined, sealingKeyPath }, { create: false })).toThrow(expect.objectContaining({ code: "sealing_key_missing" }));
  });

  test.each([0o640, 0o604, 0o620, 0o666])("in a file of mode %o is refused", (mode) => {
    loadSealing({ sealingKey: undefined, sealingKeyPath }, { create: true });
    chmodSync(sealingKeyPath, mode);
    expect(() => loadSealing({ sealingKey: undefined, sealingKeyPath }, { create: false })).toThrow(
      expect.objectContaining({ code: "key_file_exposed", message: expect.stringContaining("chmod 600") }),
    );
  });

  test("in a file of another user, who could read or replace it, is refused", () => {
    loadSealing({ sealingKey: undefined, sealingKeyPath }, { create: true });
    const ownUid = disown(sealingKeyPath);
    expect(() => readSecretFile(sealingKeyPath, ownUid)).toThrow(
      expect.objectContaining({ code: "key_file_exposed", message: expect.stringContaining(`chown ${ownUid} ${sealingKeyPath}`) }),
    );
  });

  test("in the environment goes before the file, and no file is made", () => {
    const sealingKey = key.toString("base64");
    const sealed = loadSealing({ sealingKey, sealingKeyPath }, { create: true }).seal(what, secret);
    expect(Buffer.from(createSealing(key).unseal(what, sealed))).toEqual(secret);
    expect(() => statSync(sealingKeyPath)).toThrow();
  });

  test.each([["too short", randomBytes(31).toString("base64")], ["no base64", "x".repeat(44)], ["empty", ""]])("that is %s is refused and not repeated", (_claim, text) => {
    writeFileSync(join(folder, "k"), text, { mode: 0o600 });
    const attempt = () => loadSealing({ sealingKey: undefined, sealingKeyPath: join(folder, "k") }, { create: false });
    expect(attempt).toThrow(expect.objectContaining({ code: "sealing_key_malformed" }));
    if (text !== "") expect(attempt).not.toThrow(text);
  });

  test("whose path is a directory is refused with a code", () => {
    expect(() => loadSealing({ sealingKey: undefined, sealingKeyPath: folder }, { create: false })).toThrow(expect.objectContaining({ name: "SignerError" }));
  });
});
