import { linkOf } from "../check/catalogue.ts";
import { verdictOf, type Finding, type Status } from "../check/finding.ts";
import type { CliIo } from "./io.ts";
import { wrap } from "./wrap.ts";

/** Findings for people, all or only what is not well, or for programs. In a locale that is not UTF-8 the signs are ASCII. */
export function renderFindings(findings: readonly Finding[], format: "table" | "short" | "json", { env, hasColour = false }: Pick<CliIo, "env" | "hasColour">): string {
  if (format === "json") return `${JSON.stringify(findings.map((one) => ({ ...one, link: linkOf(one.check) })), null, 2)}\n`;
  const shown = format === "short" ? findings.filter(({ status }) => status !== "ok") : findings;
  const signs = isUtf8(env) ? unicodeSigns : asciiSigns;
  const paint = (status: Status, text: string): string => (hasColour ? `${colours[status]}${text}${plain}` : text);
  const lines: string[] = [];
  let category: string | undefined;
  for (const { category: next, status, name, hint, check } of shown) {
    if (next !== category) lines.push(...(category === undefined ? [] : [""]), next, "-".repeat(next.length));
    category = next;
    const [first = "", ...rest] = wrap(`${signs[status]} ${name}`).split("\n");
    lines.push(`${paint(status, signs[status])}${first.slice(signs[status].length)}`, ...rest.map((line) => `  ${line}`));
    if (hint !== undefined) lines.push(wrap(hint, "    "), `    see ${linkOf(check)}`);
  }
  const verdict = verdictOf(findings);
  return `${[...lines, ...(lines.length > 0 ? [""] : []), `${verdicts[verdict]} ${paint(verdict, signs[verdict])}`].join("\n")}\n`;
}

/** POSIX: the first of these that is set and not empty decides. */
function isUtf8(env: CliIo["env"]): boolean {
  return /utf-?8/i.test(env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"] || "");
}

const unicodeSigns = { ok: "√", warning: "‼", failed: "×" } as const;
const asciiSigns = { ok: "ok", warning: "!!", failed: "xx" } as const;
const verdicts = { ok: "All is well:", warning: "It works, but look at the lines with", failed: "Something is wrong: see the lines with" } as const;
const colours = { ok: "\u001b[32m", warning: "\u001b[33m", failed: "\u001b[31m" } as const;
const plain = "\u001b[0m";
