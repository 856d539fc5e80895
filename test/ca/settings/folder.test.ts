import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeFolder } from "../../../ca/settings/folder.ts";

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "countersign-folder-"))));
afterAll(() => rmSync(folder, { recursive: true }));

test("a folder is made with those above it, for its user alone, and stays as it is when it is there", () => {
  const path = join(folder, "a", "b", "c");
  makeFolder(path, 0o700);
  makeFolder(path, 0o755);
  expect(statSync(path).mode & 0o777).toBe(0o700);
  expect(statSync(join(folder, "a")).mode & 0o777).toBe(0o700);
});

test("a file in its place, or above it, is an error", () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  expect(() => makeFolder(file, 0o700)).toThrow("EEXIST");
  expect(() => makeFolder(join(file, "below"), 0o700)).toThrow("ENOTDIR");
});

test("where the file system makes none it is an error, and no loop", () => {
  expect(() => makeFolder("/proc/countersign", 0o700)).toThrow("ENOENT");
  expect(() => makeFolder("/proc/countersign/below", 0o700)).toThrow("ENOENT");
});
