import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * What lines become that are typed into an interactive zsh with TAB behind each, without the program's name; and what it shows when
 * TAB is pressed behind `shown`, which is all that several words have in common.
 * @param script  of the program's completion
 */
export function typedIntoZsh(program: string, script: string, typed: readonly string[], shown?: string): { readonly lines: readonly string[]; readonly screen: string } {
  const folder = mkdtempSync(join(tmpdir(), "countersign-zsh-"));
  try {
    writeFileSync(join(folder, "completion"), script);
    // The program says what it was called with, once the line is taken.
    writeFileSync(join(folder, "start"), `PS1='ready> '\nautoload -Uz compinit && compinit -u -D\nsource ${join(folder, "completion")}\n${program}() { print -r -- "called($*)" }\n`);
    const steps = typed.map((line) => `zpty -w -n shell ${quoted(`${line}\t\n`)}\nzpty -r shell answer '*called(*)*ready> '\nprint -rn -- "$answer"\n`);
    const last = shown === undefined ? "" : `zpty -w -n shell ${quoted(`${shown}\t`)}\nzpty -r shell answer '*${shown.split(" ").at(-1)}*--*--*'\nprint -rn -- "$answer"\n`;
    const driver = `zmodload zsh/zpty\nzpty -b shell zsh -f -i\nzpty -w shell 'source ${join(folder, "start")}'\nzpty -r shell answer '*ready> '\n${steps.join("")}print -rn -- $'\\f'\n${last}zpty -d shell\n`;
    const [called = "", screen = ""] = execFileSync("zsh", ["-f", "-c", driver], { encoding: "utf8", timeout: 50_000, env: { PATH: process.env["PATH"], TERM: "xterm", HOME: folder, LC_ALL: "C" } }).split("\f");
    return { lines: [...called.matchAll(/called\(([^)]*)\)/g)].map(([, line]) => line!.trim()), screen: screen.replaceAll(/\u001b\[[\d;?]*[A-Za-z]/g, "") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const quoted = (text: string): string => `$'${text.replaceAll("\t", "\\t").replaceAll("\n", "\\n")}'`;
