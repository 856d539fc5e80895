import { existsSync } from "node:fs";
import { linkOf } from "../check/catalogue.ts";
import { verdictOf, type Finding } from "../check/finding.ts";
import { inert, inertJson, inertLines } from "../settings/inert.ts";
import type { CliIo } from "./io.ts";
import { painter, signsOf } from "./signs.ts";
import { wrap } from "../settings/wrap.ts";

export type Format = "table" | "short" | "json";

/** What a look found, and the page that explains each of it. */
export interface Report {
  readonly findings: readonly Finding[];
  readonly page: string;
}

/** Findings for people, all or only what is not well, or for programs. */
export function renderFindings({ findings, page }: Report, format: Format, { env, hasColour }: Pick<CliIo, "env" | "hasColour">): string {
  if (format === "json") return `${inertJson(forPrograms({ findings, page }), 2)}\n`;
  const shown = format === "short" ? findings.filter(({ status }) => status !== "ok") : findings;
  const [signs, paint] = [signsOf(env), painter(hasColour)];
  const lines: string[] = [];
  let category: string | undefined;
  for (const { category: next, status, name, hint, check } of shown) {
    if (next !== category) lines.push(...(category === undefined ? [] : [""]), next, "-".repeat(next.length));
    category = next;
    const [first = "", ...rest] = wrap(`${signs[status]} ${inert(name)}`).split("\n");
    lines.push(`${paint(status, signs[status])}${first.slice(signs[status].length)}`, ...rest.map((line) => `  ${line}`));
    if (hint !== undefined) lines.push(wrap(inertLines(hint), "    "), `    see ${linkOf(check, page)}`);
  }
  const verdict = verdictOf(findings);
  return `${[...lines, ...(lines.length > 0 ? [""] : []), `${verdicts[verdict]} ${paint(verdict, signs[verdict])}`].join("\n")}\n`;
}

/** Each with where it is explained. */
export function forPrograms({ findings, page }: Report): readonly (Finding & { readonly link: string })[] {
  return findings.map((one) => ({ ...one, link: linkOf(one.check, page) }));
}

/** Where no CA answers that would explain it: the page that came with this program. */
export function installedPage(): string {
  const page = ["../../ca/README.md", "../ca/README.md"].map((path) => new URL(path, import.meta.url)).find((url) => existsSync(url));
  return page?.href ?? "ca/README.md";
}

const verdicts = { ok: "All is well:", warning: "It works, but look at the lines with", failed: "Something is wrong: see the lines with" } as const;
