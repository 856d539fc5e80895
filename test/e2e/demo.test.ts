import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

test("the demo holds in every step", { timeout: 400_000 }, async () => {
  // From the sources, as `npm run demo` does.
  const { code, output } = await demo({ COUNTERSIGN_PROGRAMS: "" });
  expect(code, output).toBe(0);
  expect(output).toContain("Hello world");
});

test("the demo of three clusters holds in every step, and fits into 80 columns", { timeout: 900_000 }, async () => {
  const { code, output } = await demo({}, "--clusters", "3");
  expect(code, output).toBe(0);
  expect(output).toContain("Hello world");
  if (!output.includes("network namespaces")) console.warn("SKIPPED: the clusters of the demo had no networks of their own, which needs root and `ip netns` (package iproute2)");
  expect(output.split("\n").filter((line) => line.length > 80)).toEqual([]);
});

async function demo(env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  const running = spawn(process.execPath, [fileURLToPath(new URL("../../infra/demo/main.ts", import.meta.url)), "--once", ...args], {
    stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env },
  });
  let output = "";
  for (const stream of [running.stdout, running.stderr]) stream.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
  const [code] = (await once(running, "close")) as [number | null];
  return { code, output };
}
