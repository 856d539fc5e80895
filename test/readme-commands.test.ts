import { describe, expect, test } from "vitest";
import { readConfig } from "../ca/config.ts";
import { readConfig as readProxyConfig } from "../proxy/config.ts";
import { completionHelp } from "../proxy/completion.ts";
import { gatewayHelp } from "../proxy/gateway/command.ts";
import { parseInterceptCommand } from "../proxy/intercept/options.ts";
import { wireHelp } from "../proxy/intercept/verify-wire.ts";
import { ConfigError } from "../ca/settings/errors.ts";
import { tapHelp } from "../proxy/tap/command.ts";
import { countersign } from "./support/command-line.ts";
import { blocksOf, commandsOf, documents, type Command } from "./support/readme-blocks.ts";

describe("what the documents tell to type", () => {
  const shown = documents.flatMap((file) => blocksOf(file, "sh"));

  test("stands in blocks that are marked as what runs elsewhere, or are run", () => {
    expect([...new Set(shown.map(({ mark }) => mark))].sort()).toEqual(["", "elsewhere"]);
  });

  test.for(shown.flatMap((block) => commandsOf(block).map((command) => [`${block.file}, ${block.section}`, command] as const)))("%s: %j has flags that there are", async ([, command]) => {
    expect(await faultOf(command)).toBe("");
  });

  test.for(documents.flatMap((file) => blocksOf(file, "json")).map((block) => [`${block.file}, ${block.section}`, block] as const))("%s: the settings are taken", ([, { text }]) => {
    const settings = JSON.parse(text.trim().startsWith("{") ? text : `{${text}}`) as Record<string, unknown>;
    expect(() => readConfig({ file: { trustDomain: "east", ...settings } })).not.toThrow();
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
