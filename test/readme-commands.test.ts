import { existsSync, readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readConfig } from "../ca/config/config.ts";
import { readConfig as readProxyConfig } from "../proxy/config/config.ts";
import { completionHelp } from "../proxy/completion.ts";
import { gatewayHelp } from "../proxy/gateway/command.ts";
import { interceptHelp, parseInterceptCommand } from "../proxy/intercept/options.ts";
import { wireHelp } from "../proxy/intercept/verify-wire.ts";
import { ConfigError } from "../ca/settings/errors.ts";
import { tapHelp } from "../proxy/tap/command.ts";
import { countersign } from "./support/command-line.ts";
import { programAvailable } from "./support/programs.ts";
import { blocksOf, commandsIn, commandsOf, documents, spansOf, type Command } from "./support/readme-blocks.ts";
import { startWalk, type Walk } from "./support/walk.ts";

describe("what the documents tell to type", () => {
  const shown = documents.flatMap((file) => blocksOf(file, "sh"));

  test("stands in blocks that are marked as what runs elsewhere, or are run", () => {
    expect([...new Set(shown.map(({ mark }) => mark))].sort()).toEqual(["", "elsewhere"]);
  });

  test("is run where it is not marked, each block by one test", () => {
    const blocks = documents.flatMap((file) => blocksOf(file, "sh").filter(({ mark }) => mark === "").map((block, _, all) => (
      `${file}: ${block.section}, ${all.filter(({ section }) => section === block.section).indexOf(block)}`)));
    const followed = followers.flatMap((path) => {
      const text = readFileSync(new URL(path, import.meta.url), "utf8");
      const [, document = "README.md"] = /document: "([\w./]+)"/.exec(text) ?? [];
      return [...text.matchAll(/\.follow\("([^"]+)"(?:, (\d+))?/g)].flatMap(([, section, number]) => (
        number === undefined ? blocks.filter((block) => block.startsWith(`${document}: ${section}, `)) : [`${document}: ${section}, ${number}`]));
    });
    expect(followed.sort()).toEqual(blocks.sort());
  });

  test.for(shown.flatMap((block) => commandsOf(block).map((command) => [`${block.file}, ${block.section}`, command] as const)))("%s: %j has flags that there are", async ([, command]) => {
    expect(await faultOf(command)).toBe("");
  });

  const inSentences = [...new Map(documents.flatMap((file) => spansOf(file).flatMap((span) => commandsIn(span).filter(({ words }) => !words.includes("--help")).map((command) => [JSON.stringify(command), [file, command] as const] as const)))).values()];
  test.for(inSentences)("%s, in a sentence: %j has flags that there are", async ([, command]) => {
    expect(await faultOf(command)).toBe("");
  });

  const infra = new URL("../infra/", import.meta.url);
  const told = readdirSync(infra, { recursive: true, encoding: "utf8" }).filter((path) => /\.(?:yaml|service|sysusers|tf)$|Dockerfile$/.test(path))
    .flatMap((path) => [...readFileSync(new URL(path, infra), "utf8").matchAll(/^# *(.*)$/gm)].map(([, comment]) => [path, comment!] as const));
  test.for(told.flatMap(([path, comment]) => [...comment.matchAll(/\bcountersign(?:-proxy)? [a-z]+ (?:--)?[a-z]+ [^)"]*/g)].flatMap(([text]) => commandsIn(text)).map((command) => [path, command] as const)))(
    "infra/%s, in a comment: %j has flags that there are", async ([, command]) => {
      expect(await faultOf(command)).toBe("");
    },
  );

  test("of docker and kubectl, in comments of infra: files that there are", () => {
    const paths = [...new Set(told.flatMap(([, comment]) => [...comment.matchAll(/(?:-f|-k) (infra\/[\w./-]*\w)/g)].map(([, path]) => path!)))];
    expect(paths.length).toBeGreaterThan(5);
    expect(paths.filter((path) => !existsSync(new URL(`../${path}`, import.meta.url)))).toEqual([]);
  });

  const others = documents.flatMap((file) => [...blocksOf(file, "sh").map(({ text }) => text), ...spansOf(file)]);
  test("of npm: scripts, benchmarks and packages that there are", () => {
    const { scripts } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { scripts: Readonly<Record<string, string>> };
    const named = [...new Set(others.flatMap((text) => [...text.matchAll(/\bnpm (?:run )?([\w:]+)/g)].map(([, name]) => name!)))];
    expect(named.filter((name) => !Object.hasOwn(scripts, name)).sort()).toEqual(["ci", "install", "pack", "sbom"]);
    const benchmarks = readFileSync(new URL("bench/main.ts", import.meta.url), "utf8");
    const asked = [...new Set(others.flatMap((text) => /^(?:npm run bench )?-- (\w+)/.exec(text)?.[1] ?? []))];
    expect(asked.filter((name) => !new RegExp(`\\b${name}\\b`).test(benchmarks))).toEqual([]);
  });

  test("of terraform: folders that there are", () => {
    const folders = [...new Set(others.flatMap((text) => [...text.matchAll(/terraform -chdir=(\S+)/g)].map(([, folder]) => folder!)))];
    expect(folders).toEqual(["infra/terraform"]);
    expect(folders.every((folder) => existsSync(new URL(`../${folder}/versions.tf`, import.meta.url)))).toBe(true);
  });

  test.for(documents.flatMap((file) => blocksOf(file, "json")).map((block) => [`${block.file}, ${block.section}`, block] as const))("%s: the settings are taken", ([, { text }]) => {
    const settings = JSON.parse(text.trim().startsWith("{") ? text : `{${text}}`) as Record<string, unknown>;
    expect(() => readConfig({ file: { trustDomain: "east", ...settings } })).not.toThrow();
  });
});

describe.runIf(programAvailable("curl") && programAvailable("openssl"))("the README's commands do what it says of them", () => {
  let walk: Walk;
  beforeAll(async () => {
    walk = await startWalk({ standIns: { npm } });
  });
  afterAll(() => walk?.close());

  test("Use it: a mesh in which the app is told who calls", { timeout: 90_000 }, async () => {
    const said = await walk.follow("Use it");
    expect(said).toMatch(/^spiffe:\/\/countersign\.local\/ns\/default\/sa\/hello$/m);
    expect(said).toMatch(/^√ a proxy that trusts your bundle takes it/m);
    expect(said).toMatch(/^√ The audit log .* fits\.$/m);
  });

  test("An offline root: a CA that is well below a root whose key it does not have", { timeout: 90_000 }, async () => {
    const said = await walk.follow("An offline root");
    expect(said).toMatch(/^√ root \w+ has its key offline/m);
    expect(said).toContain("All is well: √");
  });

  test("Back up and restore: the same log, in another folder", { timeout: 60_000 }, async () => {
    expect(await walk.follow("Back up and restore")).toMatch(/^√ The audit log countersign\.dev\/north\.example\/log fits\.$/m);
  });

  test("Upgrade: stopped, looked at, started, and well", { timeout: 60_000 }, async () => {
    expect((await walk.follow("Upgrade")).match(/^All is well: √$/gm)).toHaveLength(3);
  });
});

/** The package of another version, which there is none of here. */
function npm(args: readonly string[]): string {
  if (!/^install -g \.\/countersign-\d+\.\d+\.\d+\.tgz$/.test(args.join(" "))) throw new Error(`npm ${args.join(" ")}`);
  return "changed 1 package\n";
}

/** Who does what the documents say. */
const followers = [
  "readme-commands.test.ts", "readme-proxy.test.ts", "readme-ca.test.ts", "readme-function.test.ts", "e2e/newcomer.test.ts", "e2e/kubernetes.test.ts", "e2e/transparent.test.ts", "infra/package.test.ts",
];

const otherHelps = [["intercept", interceptHelp], ["gateway", gatewayHelp], ["verify-wire", wireHelp], ["tap", tapHelp], ["completion", completionHelp]] as const;

/** What is wrong with the flags of a command; nothing of it is done. */
async function faultOf({ program, words }: Command): Promise<string> {
  if (program === "countersign") {
    // Flags are read in their order, so it is this one that is complained of if all before it are known.
    const { stderr } = await countersign([...words, "--no-such-flag"]);
    return /there is no flag --no-such-flag/.test(stderr) ? "" : stderr;
  }
  if (words[0] === "intercept" && words.length > 1) return parseInterceptCommand(words.slice(1).map((word) => (word === "countersign-proxy" ? "0" : word))).action === undefined ? "no action" : "";
  const help = otherHelps.find(([name]) => name === words[0])?.[1];
  if (help !== undefined) return words.filter((word) => word.startsWith("--") && !help.includes(word)).join(" ");
  try {
    readProxyConfig({ args: words, env: {} });
    return "";
  } catch (error) {
    // What a file holds is another matter.
    return error instanceof ConfigError && /file|bootstrap/i.test(error.message) ? "" : String(error);
  }
}
