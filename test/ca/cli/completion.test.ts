import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { wordsOf } from "../../../ca/cli/completion.ts";
import { countersign } from "../../support/command-line.ts";
import { programAvailable } from "../../support/programs.ts";
import { typedIntoZsh } from "../../support/zsh.ts";

const script = async (shell: string): Promise<string> => (await countersign(["completion", shell])).stdout;

/** What bash would offer for the last of the words. */
async function offered(...words: readonly string[]): Promise<readonly string[]> {
  const call = `${await script("bash")}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _countersign; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync("bash", ["--norc", "-c", call, "bash", "countersign", ...words], { encoding: "utf8" }).split("\n").filter((line) => line !== "");
}

describe("bash completes", () => {
  test.for([
    [["ce"], ["certificate", "ceremony"]],
    [["token", ""], ["create", "list", "delete"]],
    [["token", "create", "--t"], ["--ttl", "--type", "--token-file"]],
    [["token", "create", "--id", "sp"], []],
    [["check", "--s"], ["--strict", "--store", "--svid-cert", "--svid-key"]],
    [["completion", "b"], ["bash"]],
    [["help", "certi"], ["certificate"]],
    [["--v"], ["--version"]],
  ] as const)("%j", async ([words, expected]) => {
    expect([...(await offered(...words))].sort()).toEqual([...expected].sort());
  });
});

test.skipIf(!programAvailable("zsh"))("zsh completes commands, actions and flags that are typed into it, and tells what commands are for", async () => {
  const { lines, screen } = typedIntoZsh("countersign", await script("zsh"), ["countersign certi", "countersign token cr", "countersign token create --tt", "countersign help autho"], "countersign cer");
  expect(lines).toEqual(["certificate", "token create", "token create --ttl", "help authority"]);
  expect(screen).toMatch(/ceremony +-- have a root whose key is offline sign\s+certificate +--/);
}, 60_000);

test.skipIf(!programAvailable("zsh"))("a zsh without completion gets it with the script", async () => {
  const home = mkdtempSync(join(tmpdir(), "countersign-zsh-"));
  try {
    const ran = execFileSync("zsh", ["-f", "-c", `${await script("zsh")}\nprint -r -- $_comps[countersign]`], { encoding: "utf8", env: { PATH: process.env["PATH"], HOME: home } });
    expect(ran).toBe("_countersign\n");
  } finally {
    rmSync(home, { recursive: true });
  }
}, 60_000);

test.skipIf(!programAvailable("fish"))("fish completes commands, actions and flags", async () => {
  const fish = async (line: string): Promise<readonly string[]> => (
    execFileSync("fish", ["--no-config", "-c", `${await script("fish")}\ncomplete -C '${line}'`], { encoding: "utf8" }).split("\n").map((offer) => offer.split("\t")[0]!)
  );
  expect(await fish("countersign ce")).toEqual(expect.arrayContaining(["certificate", "ceremony"]));
  expect(await fish("countersign token ")).toEqual(expect.arrayContaining(["create", "list", "delete"]));
  expect(await fish("countersign token create --t")).toEqual(expect.arrayContaining(["--ttl", "--type", "--token-file"]));
});

test("every flag that is offered is one that the command knows", async () => {
  const offers = [...(await script("bash")).matchAll(/^ {4}(\S+)\) .*flags="([^"]*)"/gm)];
  expect(offers.length).toBeGreaterThan(15);
  for (const [, command = "", flags = ""] of offers) {
    for (const flag of flags.split(" ").filter((one) => one !== "" && one !== "--help")) {
      // A flag that is known lacks its value here, or the action: nothing is done. Where it lacks neither, there is no CA to do it.
      const { stderr } = await countersign([command, flag, "--no-such-flag"], { COUNTERSIGN_DATA_DIR: "/nonexistent" });
      expect(stderr, `${command} ${flag}`).not.toMatch(new RegExp(`there is no flag ${flag}\\b`));
    }
  }
});

test("what a help mentions of other commands is not taken for its own", () => {
  const help = "countersign x: y\n\n  countersign x list [--all]\n  countersign x watch | kubectl apply -f -\n      see countersign token create --type api\n  countersign x spiffe://a\n";
  expect(wordsOf("x", "y", help)).toEqual({ name: "x", about: "y", actions: ["list", "watch"], flags: ["--all", "--help"] });
});

test.for([["completion powershell", "there is bash,"], ["completion", "countersign completion bash"], ["completion bash more", "too many"]] as const)("%s ends with 2", async ([line, expected]) => {
  expect(await countersign(line.split(" "))).toMatchObject({ exitCode: 2, stdout: "", stderr: expect.stringContaining(expected) as string });
});
