import { generateKeyPairSync } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkpointSigner } from "../../ca/audit/checkpoint.ts";
import type { Report } from "../../ca/contract/reports.ts";
import { encodeRenewalProof } from "../../ca/pki/renewal-proof.ts";
import { complaintsOf, openBrowser, seriousFindings } from "../support/browser.ts";
import { countersign } from "../support/command-line.ts";
import { chainOf, newCsr } from "../support/running-ca.ts";
import { startMesh, type Mesh } from "../support/mesh.ts";
import { programAvailable } from "../support/programs.ts";
import { hostile, idOf, openShop, type Shop } from "../support/shop.ts";

interface Proof {
  readonly body: string;
  readonly hashes: readonly string[];
  readonly note: string;
  readonly key: string;
}
const otherKey = checkpointSigner({ origin: "another", privateKeyPkcs8: generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" }) }).verifierKey;

describe.runIf(programAvailable("chromium"))("the dashboard in Chromium", () => {
  let mesh: Mesh;
  let shop: Shop;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let complaints: string[];

  beforeAll(async () => {
    [mesh, browser] = await Promise.all([startMesh(), openBrowser()]);
    shop = await openShop(mesh.served.ca);
    context = await browser.newContext({ baseURL: mesh.served.url, ignoreHTTPSErrors: true });
    page = await context.newPage();
    page.setDefaultTimeout(30_000);
    complaints = complaintsOf(page);
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    await mesh?.close();
  });

  test("whoever is not signed in is asked to, and gets to the page they wanted by their API token", async () => {
    await page.goto("/ui?from=bookmark");
    expect(new URL(page.url()).pathname).toBe("/ui/sign-in");
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByLabel("API token").fill("csapi_0123456789abcdef_0123456789012345678901234567890123456789012");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").waitFor();
    expect(complaints.splice(0)).toEqual([expect.stringContaining("401")]);
    await page.goto("/ui?from=bookmark");
    await page.getByLabel("API token").fill(readFileSync(mesh.served.files.adminToken, "utf8").trim());
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    expect(new URL(page.url()).search).toBe("?from=bookmark");
    const [cookie] = await context.cookies();
    expect(cookie).toMatchObject({ name: "__Host-countersign", secure: true, httpOnly: true, sameSite: "Strict" });
  }, 90_000);

  test("the overview says whether all is well, what ends next, and how much was issued and denied", async () => {
    expect(await page.locator(".verdict").textContent()).toMatch(/All is well|It works/);
    expect(await page.locator("#rates").textContent()).toContain("8 certificates and tokens issued");
    expect(await page.locator("#ending").textContent()).toContain("/ns/shop/sa/");
    expect(await seriousFindings(page)).toEqual([]);
  }, 90_000);

  test("what is issued meanwhile is there without a reload", async () => {
    await page.getByText("Live", { exact: true }).waitFor();
    await mesh.served.ca.createToken({ type: "join", spiffeId: "spiffe://east/late" }, shop.admin);
    const entries = page.locator("#tiles dd").nth(3);
    const before = await entries.textContent();
    await mesh.served.ca.createToken({ type: "join", spiffeId: "spiffe://east/later" }, shop.admin);
    await expect.poll(() => entries.textContent(), { timeout: 30_000 }).not.toBe(before);
  }, 90_000);

  test("a workload is found by a part of its ID, among those that live", async () => {
    await page.goto("/ui/workloads");
    expect(await page.getByRole("row").count()).toBe(1 + shop.workloads.size);
    // What a proxy has that it should not stands beside its version.
    expect(await page.getByRole("row", { name: "catalogue" }).textContent()).toContain("takes plain text");
    expect(await page.getByRole("row", { name: "postgres" }).textContent()).toContain("clock 25 s behind");
    await page.getByRole("searchbox").fill("cart");
    await page.keyboard.press("Enter");
    await page.getByText("1 holder of a live certificate").waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByLabel("Show").selectOption("revoked");
    await page.getByRole("searchbox").fill("");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByText("revoked last first").waitFor();
    expect(await page.locator("tbody tr").count()).toBe(1);
    expect(await page.getByRole("columnheader").allTextContents()).toContain("Proved by");
  }, 90_000);

  test("its certificate shows its history and whom it talks to, and is revoked when that is confirmed", async () => {
    const { serialNumber } = shop.workloads.get("catalogue")!;
    await page.goto(`/ui/workloads?show=all&search=${serialNumber}`);
    await page.getByRole("link", { name: serialNumber }).click();
    await page.getByRole("heading", { name: "History" }).waitFor();
    expect(await page.locator("#talks").textContent()).toContain("/ns/shop/sa/postgres");
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByRole("link", { name: "Revoke" }).click();
    await page.getByLabel("Reason").selectOption("superseded");
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByRole("button", { name: "Revoke" }).click();
    await page.locator("#facts").getByText("superseded").waitFor();
    expect(await mesh.served.ca.store.certificate(serialNumber)).toMatchObject({ revocationReason: "superseded" });
    expect(await page.getByRole("link", { name: "Revoke" }).count()).toBe(0);
  }, 90_000);

  test("edges are a picture and a table, and say why one is not secured", async () => {
    await page.goto("/ui/edges");
    expect(await page.locator("svg.graph rect.node").count()).toBe(7);
    expect(await page.locator("#edges").textContent()).toContain("2 not secured");
    expect(await seriousFindings(page)).toEqual([]);
    // Whoever is somewhere by keyboard stays there when the page is brought up to date.
    const links = page.locator("#table").getByRole("link", { name: "/ns/shop/sa/web" });
    await links.nth(1).focus();
    const seen = page.locator("#table td").last();
    const before = await seen.textContent();
    await expect.poll(async () => {
      await mesh.served.ca.createToken({ type: "join", spiffeId: "spiffe://east/latest" }, shop.admin);
      return seen.textContent();
    }, { timeout: 30_000, interval: 1000 }).not.toBe(before);
    expect(await page.evaluate("[...document.querySelectorAll('#table a')].filter((link) => link.textContent.endsWith('/web')).indexOf(document.activeElement)")).toBe(1);
    await page.getByLabel("only what is not secured").check();
    await page.getByRole("button", { name: "Show" }).click();
    await page.locator("tbody").getByText("plain text").waitFor();
    expect(await page.locator("tbody tr").count()).toBe(2);
  }, 90_000);

  test("trust is a tree from roots to workloads, and says who holds a rotation back", async () => {
    await page.goto("/ui/trust");
    await page.getByText("Nothing is being replaced").waitFor();
    await mesh.served.ca.operateAuthority({ action: "prepare" }, shop.admin);
    await page.getByText("Held back by").waitFor();
    expect(await page.getByRole("progressbar").getAttribute("value")).toBe("0");
    expect(await page.locator("#rotation").textContent()).toContain("/ns/shop/sa/web");
    const rows = await page.locator("#tree li:not(.ticks)").allTextContents();
    const names = rows.map((row) => /root|issuer|sa\/\w+/.exec(row)?.[0]);
    // Below their issuer, those that end first: which these are is for the clock.
    expect([names.slice(0, 2), names.slice(2, -1).sort(), names.at(-1)]).toEqual([["root", "issuer"], [...shop.workloads.keys()].map((name) => `sa/${name}`).sort(), "root"]);
    expect(await seriousFindings(page)).toEqual([]);
  }, 90_000);

  test("the audit log is searched, and the browser proves by itself that an entry is in it", async () => {
    await page.goto("/ui/audit?search=certificate.revoked");
    expect(await seriousFindings(page)).toEqual([]);
    await page.locator("tbody tr").first().getByRole("link").click();
    await page.getByText("Proved in this browser").waitFor();
    expect(await page.locator("#proof li").allTextContents()).toHaveLength(4);
    expect(await seriousFindings(page)).toEqual([]);
  }, 90_000);

  test.each([
    ["an entry that was altered", (proof: Proof) => ({ ...proof, body: proof.body.replace("token:", "tokeN:") }), "do not lead to the root"],
    ["a hash that was", (proof: Proof) => ({ ...proof, hashes: [...proof.hashes.slice(1), proof.hashes[0]!] }), "do not lead to the root"],
    ["a proof that is cut short", (proof: Proof) => ({ ...proof, hashes: proof.hashes.slice(1) }), "too few hashes"],
    ["a checkpoint over another root", (proof: Proof) => ({ ...proof, note: proof.note.replace(/\n(\d+)\n/, (_, size) => `\n${Number(size) + 1}\n`) }), "do not lead to the root"],
    ["a signature that is not the key's", (proof: Proof) => ({ ...proof, note: proof.note.replace(/...=\n$/, "AAA=\n") }), "signature is wrong"],
    ["another log's key", (proof: Proof) => ({ ...proof, key: otherKey }), "not signed by the log's key"],
  ])("the browser does not take %s", async (_, change, complaint) => {
    await page.route("**/ui/audit/5", async (route) => {
      const answer = await route.fetch();
      const text = await answer.text();
      const [whole = "", escaped = ""] = /data-proof="([^"]*)"/.exec(text) ?? [];
      const proof = JSON.parse(escaped.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&amp;", "&")) as Proof;
      const changed = JSON.stringify(change(proof)).replaceAll("&", "&amp;").replaceAll('"', "&quot;");
      await route.fulfill({ response: answer, body: text.replace(whole, () => `data-proof="${changed}"`) });
    });
    await page.goto("/ui/audit/5");
    await page.getByText("× Not proved").waitFor();
    expect(await page.locator("#proof-verdict").textContent()).toContain(complaint);
    await page.unroute("**/ui/audit/5");
  }, 90_000);

  test("policies are read as sentences and tried", async () => {
    await page.goto("/ui/policies");
    expect(await page.locator("#policies").textContent()).toContain("spiffe://east/ns/shop/sa/web");
    await page.getByLabel("Client's SPIFFE ID").fill(idOf("web"));
    await page.getByLabel("Server's SPIFFE ID").fill(idOf("cart"));
    await page.getByLabel("Method").fill("GET");
    await page.getByLabel("Path").fill("/items/1");
    await page.getByRole("button", { name: "Try" }).click();
    await page.locator("#decision").getByText("allowed").waitFor();
    expect(await page.locator("#decision").textContent()).toContain("cart/items");
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByLabel("Path").fill("/admin/users");
    await page.keyboard.press("Enter");
    await page.locator("#decision").getByText("denied").waitFor();
    await page.getByLabel("Client's SPIFFE ID").fill("cart");
    await page.keyboard.press("Enter");
    await page.locator("#decision").getByText("not a SPIFFE ID").waitFor();
  }, 90_000);

  test("federation shows how old each bundle is, why it is, and the fingerprints of both sides", async () => {
    await page.goto("/ui/federation");
    const { federation: [west] } = { federation: await mesh.served.ca.federation.list() };
    const text = (await page.locator("#domains").textContent()) ?? "";
    expect(text).toContain(west!.bundle!.authorities[0]!.fingerprint);
    expect(text).toContain((await mesh.served.ca.authorities()).find(({ type }) => type === "root")!.fingerprint);
    expect(await page.locator("#map").textContent()).toContain("failed");
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByRole("button", { name: "Look for its bundle now" }).click();
    await page.getByRole("heading", { level: 1, name: "Federation" }).waitFor();
  }, 90_000);

  test("what others have written is text, and nothing but text", async () => {
    for (const path of ["/ui/workloads", "/ui/policies"]) {
      await page.goto(path);
      expect(await page.locator("main").innerText()).toContain(hostile);
      expect([await page.locator("main img").count(), await page.title()]).toEqual([0, expect.not.stringContaining("owned")]);
    }
    await page.goto(`/ui/workloads?search=${encodeURIComponent(hostile)}`);
    expect([await page.locator("main img").count(), await page.getByRole("searchbox").inputValue()]).toEqual([0, hostile]);
  }, 90_000);

  test("a workload that came by a join token and says of itself and its peers what it likes says nothing but text", async () => {
    const { ca } = mesh.served;
    // As far as the grammar of SPIFFE IDs lets it go.
    const spiffeId = idOf(`__proto__.constructor-${"x".repeat(200)}`);
    const { token } = await ca.createToken({ type: "join", spiffeId }, shop.admin);
    const key = newCsr();
    const issued = await ca.issue({ csr: key.csr, attestation: { type: "join-token", token } }, {});
    const peers = [hostile, "</title><script>document.title='owned'</script>", "javascript:alert(1)//spiffe://east/", "spiffe://east/ns/shop/sa/\u202emoc.live", `spiffe://east/${"y".repeat(2000)}`, "*", "__proto__"];
    const edges = peers.map((serverId) => ({ direction: "outbound" as const, clientId: spiffeId, serverId, secured: false, reason: "no_route", connections: 1 }));
    const report: Report = { type: "edges", reportedAt: ca.now().toISOString(), edges, version: hostile };
    const text = JSON.stringify(report);
    const proof = encodeRenewalProof({ chain: chainOf(issued), privateKey: key.privateKey, csr: Buffer.from(text), audience: "east", nowMs: ca.now().getTime(), purpose: "report" });
    const taken = await context.request.post("/v1/reports", { data: { report: text, proof } });
    expect(taken.status()).toBe(204);
    await page.setViewportSize({ width: 360, height: 740 });
    const search = encodeURIComponent(spiffeId);
    for (const path of ["/ui", `/ui/workloads?search=${search}`, `/ui/edges?search=${search}`, `/ui/edges?search=${encodeURIComponent(hostile)}`, `/ui/certificates/${issued.serialNumber}`, "/ui/trust", `/ui/audit?search=${search}`]) {
      // What proxies reported is remembered for a second.
      await expect.poll(async () => (await page.goto(path)) !== null && (await page.locator("main").innerText()).includes("__proto__"), { timeout: 30_000, interval: 500 }).toBe(true);
      expect([path, await page.locator("main img, main script").count(), await page.title()]).toEqual([path, 0, expect.not.stringContaining("owned")]);
      expect([path, await page.locator("a:not([href^='/']):not([href='#main'])").count(), await page.evaluate("document.documentElement.scrollWidth")]).toEqual([path, 0, 360]);
      expect(await page.content()).not.toContain("\u202e");
    }
    await page.goto(`/ui/edges?search=${search}`);
    expect(await seriousFindings(page)).toEqual([]);
    expect(await page.locator("svg.graph .node").count()).toBe(1 + peers.length);
    expect(await page.locator("main").innerText()).toContain("\\u{202e}moc.live");
    await page.setViewportSize({ width: 1280, height: 800 });
  }, 90_000);

  test("every page works at the width of a telephone, in the dark, and by keyboard alone", async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme: "dark" });
    for (const path of ["/ui", "/ui/trust", "/ui/workloads", "/ui/edges", "/ui/policies", "/ui/audit", "/ui/audit/5", "/ui/federation", `/ui/certificates/${shop.workloads.get("web")!.serialNumber}`]) {
      await page.goto(path);
      expect([path, await page.evaluate("document.documentElement.scrollWidth")]).toEqual([path, 360]);
      expect(await seriousFindings(page)).toEqual([]);
    }
    await page.goto("/ui");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    expect(await page.evaluate("document.activeElement.id")).toBe("main");
    for (let steps = 0; (await page.evaluate("document.activeElement.textContent")) !== "Trust" && steps < 20; steps++) await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Trust" }).waitFor();
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1280, height: 800 });
  }, 90_000);

  test("whoever signs out is out", async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
    await page.goto("/ui");
    expect(new URL(page.url()).pathname).toBe("/ui/sign-in");
  }, 90_000);

  test("countersign dashboard signs in whoever has a role by their SVID, and shows what that role may see", async () => {
    const { ca, url } = mesh.served;
    const key = newCsr();
    const oncall = idOf("web");
    const { chain } = await ca.issue({ csr: key.csr, attestation: { type: "operator", spiffeId: oncall } }, { caller: shop.admin });
    await ca.operators.add({ spiffeId: oncall, role: "operator", scope: ["spiffe://east/ns/shop/*"] }, shop.admin);
    const [certPath, keyPath] = [join(mesh.folder, "oncall.pem"), join(mesh.folder, "oncall.key")];
    writeFileSync(certPath, chain);
    writeFileSync(keyPath, key.privateKey.export({ format: "pem", type: "pkcs8" }), { mode: 0o600 });
    const { stdout, exitCode } = await countersign(["dashboard", "--svid-cert", certPath, "--svid-key", keyPath], { COUNTERSIGN_URL: url, COUNTERSIGN_DATA_DIR: join(mesh.folder, "ca") });
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/^https:\S+\/ui\/sign-in\/[\w-]{43}\n$/)]);
    await page.goto(stdout.trim());
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    expect(await page.locator(".who").textContent()).toContain(oncall);
    expect(await page.getByRole("navigation").getByText("Audit").count()).toBe(0);
  }, 90_000);

  test("nothing of all this made the browser complain", () => {
    expect(complaints).toEqual([]);
  });
});
