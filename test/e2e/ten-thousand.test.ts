import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KeptEdges } from "../../ca/reports/receive.ts";
import packageJson from "../../package.json" with { type: "json" };
import { countersign } from "../support/command-line.ts";
import { crowdId, openCrowd } from "../support/crowd.ts";
import { startMesh, type Mesh } from "../support/mesh.ts";
import { newCsr } from "../support/running-ca.ts";

const workloads = 10_000;

describe("with ten thousand workloads and as many proxies", () => {
  const agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
  let mesh: Mesh;
  let cookie = "";
  let env: Readonly<Record<string, string>>;
  beforeAll(async () => {
    mesh = await startMesh();
    const { ca, files, url } = mesh.served;
    env = { COUNTERSIGN_URL: url, COUNTERSIGN_DATA_DIR: join(mesh.folder, "ca") };
    await openCrowd(ca, { workloads, ofNamespace: 100, version: packageJson.version });
    // The newest, whose chain is looked at.
    await ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: crowdId(0, 0) } }, { caller: mesh.admin });
    const token = readFileSync(files.adminToken, "utf8").trim();
    cookie = /^[^;]*/.exec((await ask("POST", "/ui/sign-in", new URLSearchParams({ token }).toString())).cookie)![0];
  }, 240_000);
  afterAll(async () => {
    agent.destroy();
    await mesh?.close();
  });

  function ask(method: string, path: string, body?: string): Promise<{ readonly status: number; readonly cookie: string; readonly text: string }> {
    return new Promise((resolve, reject) => {
      const form = { "content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin" };
      const asked = request(`${mesh.served.url}${path}`, { method, agent, headers: { cookie, ...(body !== undefined && form) } }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk)).on("error", reject)
          .on("end", () => resolve({ status: response.statusCode ?? 0, cookie: response.headers["set-cookie"]?.[0] ?? "", text }));
      });
      asked.on("error", reject).end(body);
    });
  }

  /** The text of a page, and where its next one is. */
  async function page(path: string): Promise<{ readonly text: string; readonly html: string; readonly next: string | undefined; readonly rows: number }> {
    const { status, text } = await ask("GET", path);
    expect([path, status]).toEqual([path, 200]);
    return {
      html: text, text: text.replaceAll(/<[^>]*>/g, " ").replaceAll(/\s+/g, " "), rows: text.split('<tr role="row">').length - 2,
      next: /href="([^"]*)">Next page/.exec(text)?.[1]?.replaceAll("&amp;", "&"),
    };
  }

  const boxesOf = (html: string): readonly string[] => [...html.matchAll(/<text class="name"[^>]*>([^<]*)</g)].map(([, name]) => name!).sort();

  test("check names the one of them that is wrong, and says that all is well once it is not", async () => {
    const { ca } = mesh.served;
    const nowMs = ca.now().getTime();
    // The last of all, as they are read.
    const row = (await ca.store.reports({ kind: "edges", nowMs, limit: workloads })).at(-1)!;
    const kept = JSON.parse(row.body) as KeptEdges;
    const unknown = "ff".repeat(20);
    await ca.store.report({ ...row, body: JSON.stringify({ ...kept, proxy: { ...kept.proxy, authorityId: unknown } }) });
    expect((await countersign(["check", "-o", "short"], env)).stdout).toContain(`(${row.name.slice(0, 12)}) has one of ffffffffffff`);
    await ca.store.report(row);
    // What was read is remembered for some seconds.
    await expect.poll(async () => (await ca.proxies({ isInView: () => true, authorityId: unknown, offset: 0, limit: 1 })).total, { timeout: 30_000, interval: 200 }).toBe(0);
    const { stdout, exitCode } = await countersign(["check", "--strict"], env);
    expect([exitCode, stdout.split("\n").filter((line) => /^[×‼] /.test(line))]).toEqual([0, []]);
  }, 240_000);

  test("the overview says that all is well, and counts them", async () => {
    const { text } = await page("/ui");
    expect(text).toContain("All is well.");
    expect(text).toContain("Proxies 10,000 reported lately");
    expect(text).toContain("19,800 / 19,800 all by mutual TLS");
  }, 240_000);

  test("workloads come in pages, each with what its proxy said, and are found by a part of the ID", async () => {
    const first = await page("/ui/workloads");
    expect([first.rows, first.text.split("√ reports").length - 1]).toEqual([50, 49]);
    expect(first.text).toContain("10,001 holders of a live certificate, by ID");
    const second = await page(first.next!);
    expect(second.rows).toBe(50);
    const namesOf = (text: string): readonly string[] => text.match(/\/ns\/team-\d+\/sa\/app-\d+/g) ?? [];
    expect(namesOf(second.text).filter((name) => namesOf(first.text).includes(name))).toEqual([]);
    const found = await page(`/ui/workloads?search=${encodeURIComponent("/team-73/")}`);
    expect([found.rows, found.text.includes("100 holders of a live certificate with “/team-73/”")]).toEqual([50, true]);
    expect((await page(found.next!)).next).toBeUndefined();
    expect((await page("/ui/workloads?search=app-99&show=valid")).text).toContain("Nothing fits");
    expect((await page(`/ui/workloads?show=valid&search=${encodeURIComponent(crowdId(99, 99))}`)).rows).toBe(1);
  }, 240_000);

  test("edges come in pages and are found wherever they are; the graph shows namespaces, and workloads once few are left", async () => {
    const all = await page("/ui/edges");
    expect([all.rows, all.next === undefined]).toEqual([100, false]);
    expect(all.text).toContain("19,800 edges, all by mutual TLS");
    expect([boxesOf(all.html).length, all.html.includes("100 workloads, 99 edges inside")]).toEqual([60, true]);
    // Last by name, behind all that one answer holds.
    const last = await page(`/ui/edges?search=${encodeURIComponent(crowdId(99, 98))}`);
    expect([last.rows, boxesOf(last.html)]).toEqual([2, ["app-48", "app-98", "app-98"]]);
    expect(boxesOf((await page(`/ui/edges?search=${encodeURIComponent("/team-99/")}`)).html)).toHaveLength(60);
    expect((await page("/ui/edges?unsecured=on")).text).toContain("0 edges");
  }, 240_000);

  test("trust shows of each issuer those that end first, and how many more there are", async () => {
    expect((await page("/ui/trust")).text).toContain("and 9,992 more proxies");
  }, 240_000);
});
