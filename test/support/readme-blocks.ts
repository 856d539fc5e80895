import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** A fenced block of commands in one of our documents. */
export interface Block {
  readonly file: string;
  /** Heading that it stands under. */
  readonly section: string;
  readonly line: number;
  /** What follows the language: `elsewhere` for what no walk can run, the tests themselves and Terraform. */
  readonly mark: string;
  readonly text: string;
}

/** Where commands are shown to users. */
export const documents = ["README.md", "ca/README.md", "proxy/README.md", "infra/terraform/README.md"] as const;

export type Document = (typeof documents)[number];

/** The blocks of a language, in the order of the document. */
export function blocksOf(file: Document, language: "sh" | "json"): readonly Block[] {
  const text = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), "utf8");
  const found: Block[] = [];
  let section = "";
  for (const match of text.matchAll(/^#+ (.*)$|^```(\w*)(?: (\w+))?\n([^]*?)^```$/gm)) {
    const [, heading, fenced, mark = "", body = ""] = match;
    if (heading !== undefined) section = heading;
    else if (fenced === language) found.push({ file, section, line: text.slice(0, match.index).split("\n").length, mark, text: body });
  }
  return found;
}

/** What stands between backticks in a document's sentences. */
export function spansOf(file: Document): readonly string[] {
  const text = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), "utf8").replaceAll(/^```[^]*?^```$/gm, "");
  return [...text.matchAll(/`([^`]+)`/g)].map(([, span]) => span!.replaceAll(/\s+/g, " "));
}

/** One command of ours in a block: the program and its words, quotes taken off. */
export interface Command {
  readonly program: "countersign" | "countersign-proxy";
  readonly words: readonly string[];
}

/** Our commands in a block, without what they are piped from or into. */
export function commandsOf({ text }: Block): readonly Command[] {
  return commandsIn(text);
}

/** The same in any text. */
export function commandsIn(text: string): readonly Command[] {
  const lines = text.replaceAll(/\\\n/g, " ").split("\n").map((line) => line.replace(/(?:^|\s)#\s.*$/, ""));
  const whole = lines.flatMap((line) => [line.replaceAll(substituted, "said"), ...[...line.matchAll(substituted)].map(([, inner]) => inner!)]);
  return whole.flatMap((line) => line.split(/&&|\|\|?|;|\$\(/)).flatMap((part) => {
    const [, program, rest = ""] = /^\s*(?:(?:until|do|then|sudo|[A-Z_]+=\S*)\s+)*(countersign(?:-proxy)?)\s(.*)$/.exec(part) ?? [];
    if (program !== "countersign" && program !== "countersign-proxy") return [];
    const words = (rest.match(/'[^']*'|"[^"]*"|[^\s'"]+/g) ?? []).map((word) => word.replaceAll(/^['"]|['"]$/g, ""));
    const end = words.findIndex((word) => /^(?:\d?>>?.*|<.*|&|\.\.\.|\))$/.test(word));
    return [{ program, words: end < 0 ? words : words.slice(0, end) }];
  });
}

/** `"$(...)"`: a word that another command prints. */
const substituted = /"\$\(([^()]*)\)"/g;
