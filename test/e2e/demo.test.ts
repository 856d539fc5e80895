import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

test("the demo holds in every step", { timeout: 120_000 }, async () => {
  const demo = spawn(process.execPath, [fileURLToPath(new URL("../../infra/demo/main.ts", import.meta.url)), "--once"], {
    stdio: ["ignore", "pipe", "pipe"],
    // From the sources, as `npm run demo` does.
    env: { ...process.env, COUNTERSIGN_PROGRAMS: "" },
  });
  let output = "";
  for (const stream of [demo.stdout, demo.stderr]) stream.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
  const [code] = (await once(demo, "close")) as [number | null];
  expect(code, output).toBe(0);
  expect(output).toContain("Hello world");
});
