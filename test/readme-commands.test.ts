import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readConfig } from "../ca/config.ts";
import { readConfig as readProxyConfig } from "../proxy/config.ts";
import { completionHelp } from "../proxy/completion.ts";
import { gatewayHelp } from "../proxy/gateway/command.ts";
import { parseInterceptCommand } from "../proxy/intercept/options.ts";
import { wireHelp } from "../proxy/intercept/verify-wire.ts";
import { ConfigError } from "../ca/settings/errors.ts";
import { tapHelp } from "../proxy/tap/command.ts";
import { countersign } from "./support/command-line.ts";
import { programAvailable } from "./support/programs.ts";
import { blocksOf, commandsOf, documents, type Command } from "./support/readme-blocks.ts";
import { startWalk, type Walk } from "./support/walk.ts";

describe("what the documents tell to type", () => {
  const shown = documents.flatMap((file) => blocksOf(file, "sh"));

  test("stands in blocks that are marked as what runs elsewhere, or are run", () => {
    expect([...new Set(shown.map(({ mark }) => mark))].sort()).toEqual(["", "elsewhere"]);
  });

  test("is run where it is not marked: each part by one of two tests", () => {
    const parts = new Set(shown.filter(({ mark }) => mark === "").map(({ file, section }) => `${file}: ${section}`));
    const tests = ["readme-commands.test.ts", "e2e/newcomer.test.ts"].map((file) => readFileSync(new URL(file, import.meta.url), "utf8")).join("");
    const followed = [...tests.matchAll(/walk\.follow\("([^"]+)"\)/g)].map(([, section]) => `README.md: ${section}`);
    expect([...parts].sort()).toEqual(followed.sort());
  });

  test.for(shown.flatMap((block) => commandsOf(block).map((command) => [`${block.file}, ${block.section}`, command] as const)))("%s: %j has flags that there are", async ([, command]) => {
    expect(await faultOf(command)).toBe("");
  });

  test.for(documents.flatMap((file) => blocksOf(file, "json")).map((block) => [`${block.file}, ${block.section}`, block] as const))("%s: the settings are taken", ([, { text }]) => {
    const settings = JSON.parse(text.trim().startsWith("{") ? text : `{${text}}`) as Record<string, unknown>;
    expect(() => readConfig({ file: { trustDomain: "east", ...settings } })).not.toThrow();
  });
});

/** The rest of the README's parts is followed by test/e2e/newcomer.test.ts. */
describe.runIf(programAvailable("curl") && programAvailable("openssl"))("the README's commands do what it says of them", () => {
  let walk: Walk;
  beforeAll(async () => {
    walk = await startWalk();
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
    expect(said).toMatch(/^√ authority \w+ \(offline\)/m);
    expect(said).toContain("All is well: √");
  });

  test("Back up and restore: the same log, in another folder", { timeout: 60_000 }, async () => {
    expect(await walk.follow("Back up and restore")).toMatch(/^√ The audit log countersign\.dev\/north\.example\/log fits\.$/m);
  });

  test("Upgrade: stopped, looked at, started, and well", { timeout: 60_000 }, async () => {
    expect((await walk.follow("Upgrade")).match(/^All is well: √$/gm)).toHaveLength(3);
  });
});

const otherHelps = [["gateway", gatewayHelp], ["verify-wire", wireHelp], ["tap", tapHelp], ["completion", completionHelp]] as const;

/** What is wrong with the flags of a command; nothing of it is done. */
async function faultOf({ program, words }: Command): Promise<string> {
  if (program === "countersign") {
    // Flags are read in their order, so it is this one that is complained of if all before it are known.
    const { stderr } = await countersign([...words, "--no-such-flag"]);
    return /there is no flag --no-such-flag/.test(stderr) ? "" : stderr;
  }
  if (words[0] === "intercept") return parseInterceptCommand(words.slice(1).map((word) => (word === "countersign-proxy" ? "0" : word))).action === undefined ? "no action" : "";
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
