import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { catalogue, linkOf, renderCatalogue, type CheckId } from "../ca/check/catalogue.ts";
import { caMetrics } from "../ca/metrics.ts";
import { renderConfigTable as renderCaSettings } from "../ca/config-table.ts";
import { renderConfigTable as renderProxySettings } from "../proxy/config-table.ts";

const path = new URL("../README.md", import.meta.url);

describe("ca/README.md", () => {
  test("explains every check, at the anchor that its line leads to", () => {
    const caPath = new URL("../ca/README.md", import.meta.url);
    const readme = readFileSync(caPath, "utf8");
    const section = /(<!-- checks: [^>]* -->\n)[^]*?(<!-- end -->)/;
    const updated = readme.replace(section, (_, begin: string, end: string) => `${begin}${renderCatalogue()}${end}`);
    if (process.env["UPDATE_README"]) writeFileSync(caPath, updated);
    else expect(readme, "write it anew with UPDATE_README=1 npm test -- test/readme.test.ts").toBe(updated);
    expect(readme).toMatch(section);
    for (const id of Object.keys(catalogue) as CheckId[]) expect(updated).toContain(`<a id="${linkOf(id).split("#")[1]}">`);
  });
});

test("ca/README.md has a row for every metric of the CA, and no other", async () => {
  const caPath = new URL("../ca/README.md", import.meta.url);
  const readme = readFileSync(caPath, "utf8");
  const section = /(<!-- metrics: [^>]* -->\n)[^]*?(<!-- end -->)/;
  const metrics = (await caMetrics().registry.getMetricsAsArray()) as unknown as { name: string; help: string; labelNames: string[]; constructor: { name: string } }[];
  const rows = metrics.sort((one, other) => (one.name < other.name ? -1 : 1)).map(({ name, help, labelNames, constructor }) =>
    `| \`${name}\` | ${constructor.name.toLowerCase()} | ${labelNames.map((label) => `\`${label}\``).join(", ")} | ${help.replace(/\.$/, "")} |\n`);
  const updated = readme.replace(section, (_, begin: string, end: string) => `${begin}| metric | type | labels | what |\n| --- | --- | --- | --- |\n${rows.join("")}${end}`);
  expect(readme).toMatch(section);
  if (process.env["UPDATE_README"]) writeFileSync(caPath, updated);
  else expect(readme, "write it anew with UPDATE_README=1 npm test -- test/readme.test.ts").toBe(updated);
});

describe("the README", () => {
  test.each([
    ["ca", renderCaSettings()],
    ["proxy", renderProxySettings()],
  ])("shows the settings of the %s as the code has them", (side, table) => {
    const readme = readFileSync(path, "utf8");
    const section = new RegExp(`(<!-- ${side} settings: [^>]* -->\n)[^]*?(<!-- end -->)`);
    const updated = readme.replace(section, (_, begin: string, end: string) => `${begin}${table}${end}`);
    if (process.env["UPDATE_README"]) writeFileSync(path, updated);
    else expect(readme, "write it anew with UPDATE_README=1 npm test -- test/readme.test.ts").toBe(updated);
    expect(readme).toMatch(section);
  });

  test("names every script of package.json, and no other", () => {
    const { scripts } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { scripts: Record<string, string> };
    const named = [...readFileSync(path, "utf8").matchAll(/^\| `npm (?:run )?([\w:]+)` \|/gm)].map(([, name]) => name);
    expect(named.sort()).toEqual(Object.keys(scripts).filter((name) => name !== "prepack").sort());
  });
});

test("proxy/README.md has a row for every metric of the proxy, and no other", () => {
  const proxy = new URL("../proxy/", import.meta.url);
  // A gateway is a process of its own, with three.
  const sources = readdirSync(proxy, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts") && !name.startsWith("gateway")).map((name) => readFileSync(new URL(name, proxy), "utf8"));
  const registered = sources.flatMap((source) => [...source.matchAll(/\.(?:counter|gauge|gaugeOf|histogram)\(\s*["`]([^"`]+)["`]/g)].flatMap(([, name = ""]) => (
    name.includes("${direction}") ? ["inbound", "outbound"].map((direction) => name.replace("${direction}", direction)) : [name]
  )));
  const shown = [...readFileSync(new URL("README.md", proxy), "utf8").matchAll(/^\| `(\w+)` \| (?:counter|gauge|histogram) \|/gm)].map(([, name]) => name);
  expect(shown.sort(), "write it anew with UPDATE_README=1 npm test -- test/e2e/seeing.test.ts").toEqual([...new Set(registered)].sort());
});
