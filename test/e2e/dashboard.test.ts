import { readFileSync } from "node:fs";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { complaintsOf, openBrowser, seriousFindings } from "../support/browser.ts";
import { startMesh, type Mesh } from "../support/mesh.ts";
import { programAvailable } from "../support/programs.ts";
import { openShop, type Shop } from "../support/shop.ts";

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
    page.setDefaultTimeout(15_000);
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
  }, 60_000);

  test("the overview says whether all is well, what ends next, and how much was issued and denied", async () => {
    expect(await page.locator(".verdict").textContent()).toMatch(/All is well|It works/);
    expect(await page.locator("#rates").textContent()).toContain("8 certificates and tokens issued");
    expect(await page.locator("#ending").textContent()).toContain("/ns/shop/sa/web");
    expect(await seriousFindings(page)).toEqual([]);
  }, 30_000);

  test("what is issued meanwhile is there without a reload", async () => {
    await page.getByText("Live", { exact: true }).waitFor();
    await mesh.served.ca.createToken({ type: "join", spiffeId: "spiffe://east/late" }, shop.admin);
    const entries = page.locator("#tiles dd").nth(3);
    const before = await entries.textContent();
    await mesh.served.ca.createToken({ type: "join", spiffeId: "spiffe://east/later" }, shop.admin);
    await expect.poll(() => entries.textContent(), { timeout: 30_000 }).not.toBe(before);
  }, 60_000);

  test("it works at the width of a telephone, and in the dark", async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme: "dark" });
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(360);
    expect(await seriousFindings(page)).toEqual([]);
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1280, height: 800 });
  }, 30_000);

  test("a workload is found by a part of its ID, among those that live", async () => {
    await page.goto("/ui/workloads");
    expect(await page.getByRole("row").count()).toBe(1 + shop.workloads.size);
    await page.getByRole("searchbox").fill("cart");
    await page.keyboard.press("Enter");
    await page.getByText("1 holder of a live certificate").waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByLabel("Show").selectOption("revoked");
    await page.getByRole("searchbox").fill("");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByText("revoked last first").waitFor();
    expect(await page.locator("tbody tr").count()).toBe(1);
  }, 30_000);

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
  }, 30_000);

  test("edges are a picture and a table, and say why one is not secured", async () => {
    await page.goto("/ui/edges");
    expect(await page.locator("svg.graph rect.node").count()).toBe(7);
    expect(await page.locator("#edges").textContent()).toContain("2 not secured");
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByLabel("only what is not secured").check();
    await page.getByRole("button", { name: "Show" }).click();
    await page.locator("tbody").getByText("plain text").waitFor();
    expect(await page.locator("tbody tr").count()).toBe(2);
  }, 30_000);

  test("whoever signs out is out", async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
    await page.goto("/ui");
    expect(new URL(page.url()).pathname).toBe("/ui/sign-in");
  }, 30_000);

  test("nothing of all this made the browser complain", () => {
    expect(complaints).toEqual([]);
  });
});
