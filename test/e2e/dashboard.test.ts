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
