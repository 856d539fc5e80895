import type { CliIo } from "./io.ts";

/** What stands before a line, by how it is; ASCII in a locale that is not UTF-8. */
export function signsOf(env: CliIo["env"]): { readonly ok: string; readonly warning: string; readonly failed: string } {
  return isUtf8(env) ? unicodeSigns : asciiSigns;
}

/** A text in the colour of how things are, where the terminal shows colours. */
export function painter(hasColour = false): (status: keyof typeof colours, text: string) => string {
  return (status, text) => (hasColour ? `${colours[status]}${text}${plain}` : text);
}

/** POSIX: the first of these that is set and not empty decides. */
function isUtf8(env: CliIo["env"]): boolean {
  return /utf-?8/i.test(env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"] || "");
}

const unicodeSigns = { ok: "√", warning: "‼", failed: "×" } as const;
const asciiSigns = { ok: "ok", warning: "!!", failed: "xx" } as const;
const colours = { ok: "\u001b[32m", warning: "\u001b[33m", failed: "\u001b[31m" } as const;
const plain = "\u001b[0m";
