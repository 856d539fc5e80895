import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { encodeBootstrap } from "../../ca/pki/bootstrap.ts";
import { freePort } from "../../infra/demo/place.ts";
import { readConfig } from "../../proxy/config/config.ts";
import { runProxy } from "../../proxy/run.ts";
import { fakeCa } from "../support/fake-ca.ts";
import { programAvailable } from "../support/programs.ts";
import { recordedLog } from "../support/recorded-log.ts";

const rulesPath = fileURLToPath(new URL("../../infra/prometheus/countersign.rules.yaml", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "countersign-scraping-"));
const closing: (() => unknown)[] = [() => rmSync(folder, { recursive: true })];
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

test.skipIf(!programAvailable("prometheus"))("Prometheus itself scrapes a proxy at the port that is open to it, and has all that the alerts on proxies ask for", async () => {
  const ca = await fakeCa();
  closing.push(() => ca.stop());
  const args = ["--inbound", "127.0.0.1:0", "--outbound", "off", "--admin", "off", "--metrics", "127.0.0.1:0"];
  const proxy = await runProxy({ config: readConfig({ args, env: { COUNTERSIGN_BOOTSTRAP: encodeBootstrap(ca.bootstrap) } }), log: recordedLog() });
  closing.push(() => proxy.close());
  const port = await startPrometheus(proxy.scraped!);
  const { groups } = parse(readFileSync(rulesPath, "utf8")) as { groups: readonly { readonly name: string; readonly rules: readonly { readonly expr: string }[] }[] };
  const names = new Set(groups.find(({ name }) => name === "countersign-proxy")!.rules.flatMap(({ expr }) => expr.match(/\b[a-z]+(?:_[a-z]+)+\b/g)!));
  expect(names.size).toBe(4);
  for (const name of ["up", ...names]) {
    const found = await vi.waitFor(async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/api/v1/query?query=${name}`);
      const { data } = (await answer.json()) as { data: { result: readonly { readonly metric: Readonly<Record<string, string>>; readonly value: readonly [number, string] }[] } };
      expect(data.result, name).toHaveLength(1);
      // One scrape that took longer than it may is followed by the next.
      if (name === "up") expect(data.result[0]!.value[1]).toBe("1");
      return data.result[0]!;
    }, { timeout: 30_000, interval: 100 });
    expect(found.metric).toMatchObject({ job: "proxies", instance: proxy.scraped });
  }
}, 90_000);

async function startPrometheus(target: string): Promise<number> {
  const file = join(folder, "prometheus.yaml");
  writeFileSync(file, JSON.stringify({
    global: { scrape_interval: "1s", evaluation_interval: "1s" }, rule_files: [rulesPath], scrape_configs: [{ job_name: "proxies", static_configs: [{ targets: [target] }] }],
  }));
  const port = await freePort();
  const child = spawn("prometheus", [`--config.file=${file}`, `--storage.tsdb.path=${join(folder, "data")}`, `--web.listen-address=127.0.0.1:${port}`, "--log.level=error"], { stdio: "ignore" });
  closing.push(async () => {
    const ended = once(child, "exit");
    if (child.kill("SIGKILL")) await ended;
  });
  await vi.waitFor(async () => expect((await fetch(`http://127.0.0.1:${port}/-/ready`)).status).toBe(200), { timeout: 30_000, interval: 100 });
  return port;
}
