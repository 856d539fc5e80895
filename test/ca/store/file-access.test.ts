import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { closeFile, closeFolder } from "../../../ca/store/file-access.ts";
import { disown } from "../../support/disown.ts";

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "countersign-access-"))));
afterEach(() => rmSync(folder, { recursive: true }));

const modeOf = (path: string) => statSync(path).mode & 0o7777;

describe("a folder", () => {
  test.each([0o777, 0o1777, 0o702])("of mode %o is refused with the command that mends it", (mode) => {
    chmodSync(folder, mode);
    expect(closeFolder(folder)).toContain(`chmod 700 ${folder}`);
    expect(modeOf(folder)).toBe(mode);
  });

  test.each([[0o775, 0o755], [0o2770, 0o2750], [0o755, 0o755], [0o700, 0o700]])("of ours of mode %o has mode %o afterwards", (mode, after) => {
    chmodSync(folder, mode);
    expect(closeFolder(folder)).toBeUndefined();
    expect(modeOf(folder)).toBe(after);
  });

  test("of another owner that our group may write to is left as it is", () => {
    const mounted = join(folder, "volume");
    mkdirSync(mounted);
    chmodSync(mounted, 0o2775);
    expect(closeFolder(mounted, disown(mounted))).toBeUndefined();
    expect(modeOf(mounted)).toBe(0o2775);
  });
});

describe("a file", () => {
  let path: string;
  beforeEach(() => writeFileSync(path = join(folder, "countersign.db"), ""));

  test.each([0o666, 0o602])("of mode %o is refused with the command that mends it", (mode) => {
    chmodSync(path, mode);
    expect(closeFile(path)).toContain(`chmod 600 ${path}`);
    expect(modeOf(path)).toBe(mode);
  });

  test.each([0o660, 0o644, 0o600])("of ours of mode %o is ours alone afterwards", (mode) => {
    chmodSync(path, mode);
    expect(closeFile(path)).toBeUndefined();
    expect(modeOf(path)).toBe(0o600);
  });

  test("of another user is refused, whatever its mode", () => {
    chmodSync(path, 0o600);
    const ownUid = disown(path);
    expect(closeFile(path, ownUid)).toContain(`chown ${ownUid} ${path}`);
  });

  test("that is not there is nobody's", () => {
    expect(closeFile(join(folder, "none"))).toBeUndefined();
  });
});
