import { spawnSync } from "node:child_process";
import { hash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "countersign-compiled-"));
const file = join(folder, "bundle.cjs");
const compiled = `${file}.v8`;
const bundleOf = (body: string): string => `${body}//${hash("sha256", body)}`;
const body = "module.exports = { add: (a, b) => a + b };\n";
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => {
  rmSync(compiled, { force: true });
  writeFileSync(file, bundleOf(body));
});

test("what was compiled after a run is taken by the next one", () => {
  expect(run("keep")).toEqual({ sum: 3, wasCompiled: false });
  expect(run()).toEqual({ sum: 3, wasCompiled: true });
});

test.each([
  ["of another source of the same length", () => writeFileSync(file, bundleOf(body.replace("a + b", "b + a")))],
  ["by another V8", () => alter((bytes) => bytes.writeUInt32LE(~bytes.readUInt32LE(endingLength + 4) >>> 0, endingLength + 4))],
  ["and cut off", () => writeFileSync(compiled, readFileSync(compiled).subarray(0, -8))],
  ["and emptied", () => writeFileSync(compiled, "")],
])("what was compiled %s is refused, and the bundle runs all the same", (_, damage) => {
  run("keep");
  damage();
  expect(run()).toEqual({ sum: 3, wasCompiled: false });
});

test("what was compiled is taken under the flags that AWS's runtime sets", () => {
  run("keep");
  expect(run("", ["--expose-gc", "--max-semi-space-size=51", "--max-old-space-size=922"])).toEqual({ sum: 3, wasCompiled: true });
});

test("what was compiled is refused under other flags", () => {
  run("keep");
  expect(run("", ["--no-lazy"])).toEqual({ sum: 3, wasCompiled: false });
});

function alter(change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(compiled);
  change(bytes);
  writeFileSync(compiled, bytes);
}

function run(keep = "", flags: readonly string[] = []): unknown {
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, "--input-type=module", "--eval", script, file, keep], { encoding: "utf8" });
  return stdout === "" ? stderr : JSON.parse(stdout) as unknown;
}

const script = `
  const { runCompiled } = await import(${JSON.stringify(fileURLToPath(new URL("../../../ca/runtime/compiled.ts", import.meta.url)))});
  const { exports, wasCompiled, keepCompiled } = runCompiled(process.argv[1]);
  const sum = exports.add(1, 2);
  if (process.argv[2] === "keep") keepCompiled();
  console.log(JSON.stringify({ sum, wasCompiled }));
`;
const endingLength = 64;
