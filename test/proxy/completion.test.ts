import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { runCompletion } from "../../proxy/completion.ts";
import { configTable } from "../../proxy/config/table.ts";
import { programAvailable } from "../support/programs.ts";
import { typedIntoZsh } from "../support/zsh.ts";

function run(...args: readonly string[]): { readonly code: number; readonly out: string; readonly err: string } {
  let [out, err] = ["", ""];
  const code = runCompletion(args, { out: (text) => void (out += text), err: (text) => void (err += text) });
  return { code, out, err };
}

/** What bash would offer for the last of the words. */
function offered(...words: readonly string[]): readonly string[] {
  const call = `${run("bash").out}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _countersign_proxy; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync("bash", ["--norc", "-c", call, "bash", "countersign-proxy", ...words], { encoding: "utf8" }).split("\n").filter((line) => line !== "");
}

describe("bash completes", () => {
  test.for([
    [["i"], ["intercept"]],
    [["--boot"], ["--bootstrap-file"]],
    [["--app", "127.0.0.1:8080", "--outb"], ["--outbound"]],
    [["intercept", ""], ["install", "remove", "status"]],
    [["intercept", "install", "--proxy"], ["--proxy-user"]],
    [["gateway", "--"], ["--admin", "--help", "--listen", "--max-connections", "--metrics", "--route"]],
    [["verify-wire", "--"], ["--help", "--interface", "--port", "--seconds"]],
    [["tap", "--d"], ["--direction"]],
    [["completion", "f"], ["fish"]],
  ] as const)("%j", ([words, expected]) => {
    expect([...offered(...words)].sort()).toEqual([...expected].sort());
  });
});

test("every setting that has a flag is offered", () => {
  expect(offered("--")).toEqual(expect.arrayContaining(configTable.flatMap(({ flag }) => (flag === undefined ? [] : [`--${flag}`]))));
});

test.skipIf(!programAvailable("zsh"))("zsh completes commands, actions and flags that are typed into it", () => {
  const { lines } = typedIntoZsh("countersign-proxy", run("zsh").out, ["countersign-proxy interc", "countersign-proxy intercept inst", "countersign-proxy --boot", "countersign-proxy tap --dir"]);
  expect(lines).toEqual(["intercept", "intercept install", "--bootstrap-file", "tap --direction"]);
}, 60_000);

test.skipIf(!programAvailable("fish"))("fish completes commands and flags", () => {
  const fish = (line: string): readonly string[] => (
    execFileSync("fish", ["--no-config", "-c", `${run("fish").out}\ncomplete -C '${line}'`], { encoding: "utf8" }).split("\n").map((offer) => offer.split("\t")[0]!)
  );
  expect(fish("countersign-proxy int")).toEqual(["intercept", ""]);
  expect(fish("countersign-proxy intercept ")).toEqual(expect.arrayContaining(["install", "remove", "status"]));
  expect(fish("countersign-proxy --boot")).toEqual(["--bootstrap-file", ""]);
});

test.for([["powershell"], [], ["bash", "more"]])("completion %j ends with 2 and says what there is", (args) => {
  expect(run(...args)).toMatchObject({ code: 2, out: "", err: expect.stringContaining("bash|zsh|fish") as string });
});
