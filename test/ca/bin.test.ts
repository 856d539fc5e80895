import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";

const run = promisify(execFile);

describe.each([
  ["countersign", "ca"],
  ["countersign-proxy", "proxy"],
])("%s", (name, side) => {
  const path = fileURLToPath(new URL(`../../${side}/bin.js`, import.meta.url));
  const startedBy = (version: string) =>
    run(process.execPath, [
      "--import",
      `data:text/javascript,Object.defineProperty(process,"versions",{value:{node:"${version}"}})`,
      path,
      "--help",
    ]);

  test.for(["12.22.12", "20.20.2", "22.18.0", "24.11.1"])(
    "on Node.js %s says what it needs and ends with 1",
    async (version) => {
      await expect(startedBy(version)).rejects.toMatchObject({
        code: 1,
        stdout: "",
        stderr: expect.stringContaining(`${name} needs Node.js 24.12 or later`) as string,
      });
    },
  );

  test.for(["24.12.0", "25.0.0", "26.10.0"])("on Node.js %s starts", async (version) => {
    expect((await startedBy(version)).stdout).toContain(name);
  });

  test("is written in what Node.js 12 can read", () => {
    expect(readFileSync(path, "utf8").replaceAll(/^\s*(\/\/|#!).*$/gm, "")).not.toMatch(
      /=>|`|\?\.|\?\?|\b(const|let|class|async|await)\b/,
    );
  });
});
