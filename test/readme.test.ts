import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { catalogue, linkOf, type CheckId } from "../ca/check/catalogue.ts";
import { renderCatalogue } from "../ca/check/reference.ts";
import { helpTexts } from "../ca/cli/dispatch.ts";
import { renderCommands } from "../ca/cli/reference.ts";
import { renderConfigTable as renderCaSettings } from "../ca/config/table.ts";
import { renderProblems } from "../ca/http/problem-remedy.ts";
import { caMetrics } from "../ca/metrics.ts";
import { completionHelp } from "../proxy/completion.ts";
import { gatewayHelp } from "../proxy/gateway/command.ts";
import { renderConfigTable as renderProxySettings } from "../proxy/config/table.ts";
import { interceptHelp } from "../proxy/intercept/options.ts";
import { wireHelp } from "../proxy/intercept/verify-wire.ts";
import { tapHelp } from "../proxy/tap/command.ts";

const pathOf = (file: string): string => fileURLToPath(new URL(`../${file}`, import.meta.url));

describe("what the code says better is in the documents as the code has it", () => {
  test.each<[file: string, marker: string, render: () => string | Promise<string>]>([
    ["README.md", "ca settings", renderCaSettings],
    ["README.md", "proxy settings", renderProxySettings],
    ["ca/README.md", "checks", renderCatalogue],
    ["ca/README.md", "metrics", renderCaMetrics],
    ["ca/README.md", "commands", async () => renderCommands(await helpTexts())],
    ["ca/README.md", "error codes", renderProblems],
    ["proxy/README.md", "commands", () => [interceptHelp, gatewayHelp, tapHelp, wireHelp, completionHelp].map((help) => `\`\`\`text\n${help.trim()}\n\`\`\`\n`).join("\n")],
  ])("%s: %s", async (file, marker, render) => {
    const readme = readFileSync(pathOf(file), "utf8");
    const section = new RegExp(`(<!-- ${marker}: [^>]* -->\n)[^]*?(<!-- end -->)`);
    expect(readme).toMatch(section);
    const text = await render();
    const updated = readme.replace(section, (_, begin: string, end: string) => `${begin}${text}${end}`);
    if (process.env["UPDATE_README"]) writeFileSync(pathOf(file), updated);
    else expect(readme, "write it anew with UPDATE_README=1 npm test -- test/readme.test.ts").toBe(updated);
  });

  test("every check has the anchor that its line leads to", () => {
    const readme = readFileSync(pathOf("ca/README.md"), "utf8");
    for (const id of Object.keys(catalogue) as CheckId[]) expect(readme).toContain(`<a id="${linkOf(id, "").slice(1)}">`);
  });
});

async function renderCaMetrics(): Promise<string> {
  const metrics = (await caMetrics().registry.getMetricsAsArray()) as unknown as { name: string; help: string; labelNames: string[]; constructor: { name: string } }[];
  const rows = metrics.sort((one, other) => (one.name < other.name ? -1 : 1)).map(({ name, help, labelNames, constructor }) =>
    `| \`${name}\` | ${constructor.name.toLowerCase()} | ${labelNames.map((label) => `\`${label}\``).join(", ")} | ${help.replace(/\.$/, "")} |\n`);
  return `| metric | type | labels | what |\n| --- | --- | --- | --- |\n${rows.join("")}`;
}

describe("the README", () => {
  test("names every script of package.json, and no other", () => {
    const { scripts } = JSON.parse(readFileSync(pathOf("package.json"), "utf8")) as { scripts: Record<string, string> };
    const named = [...readFileSync(pathOf("README.md"), "utf8").matchAll(/^\| `npm (?:run )?([\w:]+)` \|/gm)].map(([, name]) => name);
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

test("proxy/README.md tells of every reason to refuse that the proxy's own code has", () => {
  const proxy = new URL("../proxy/", import.meta.url);
  const sources = readdirSync(proxy, { recursive: true, encoding: "utf8" }).filter((name) => /^(?:inbound|outbound|peer|http2)\b.*\.ts$/.test(name)).map((name) => readFileSync(new URL(name, proxy), "utf8")).join("");
  const patterns = [/refuse\(\{\s*reason: "([a-z_]+)"/g, /(?:PeerError|DialError)\("([a-z_]+)"/g, /turnAway\(app, "([a-z_]+)"/g, /\["([a-z_]+)", [`"]the /g, /^ {2}([a-z_]+): "connection refused/gm];
  const reasons = new Set(patterns.flatMap((pattern) => [...sources.matchAll(pattern)].map(([, reason = ""]) => (reason === "undecided" ? "line_incomplete" : reason))));
  expect(reasons.size).toBeGreaterThan(20);
  const [, section = ""] = /^## Why it refuses\n([^]*?)^## /m.exec(readFileSync(new URL("README.md", proxy), "utf8")) ?? [];
  expect([...reasons].filter((reason) => !section.includes(`\`${reason}\``))).toEqual([]);
});

describe.each(["README.md", "ca/README.md", "proxy/README.md", "infra/terraform/README.md"])("what %s leads to is there", (file) => {
  const readme = readFileSync(pathOf(file), "utf8").replaceAll(/^```[^]*?^```$/gm, "");

  test("files and headings that it links to", () => {
    const broken = [...readme.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link).filter((link) => {
      if (/^https?:/.test(link)) return false;
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? file : join(dirname(file), path);
      return !existsSync(pathOf(target)) || (anchor !== undefined && !anchorsOf(readFileSync(pathOf(target), "utf8")).includes(anchor));
    });
    expect(broken).toEqual([]);
  });

  test("files of the project that it names", () => {
    const named = [...readme.matchAll(/`((?:test|infra)\/[\w./-]+)`/g)].map(([, path = ""]) => path);
    expect(named.filter((path) => !existsSync(pathOf(path)))).toEqual([]);
  });
});

/** As GitHub makes them of headings, and those that are written out. */
function anchorsOf(markdown: string): readonly string[] {
  const headings = [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) => title.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-"));
  return [...headings, ...[...markdown.matchAll(/<a id="([^"]+)">/g)].map(([, id = ""]) => id)];
}
