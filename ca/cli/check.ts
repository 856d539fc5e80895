import { setTimeout as sleep } from "node:timers/promises";
import { paths, type AuthorityList, type Readiness } from "../contract.ts";
import { api, ApiError, apiHelp, apiOptions, type Api } from "./api.ts";
import { noMore, readArguments, UsageError } from "./arguments.ts";
import { judge, type Finding } from "./check-findings.ts";
import type { CliIo } from "./io.ts";
import { wrap } from "./wrap.ts";

/** `countersign check`: whether the CA is well, line by line. @returns 0, 1 when something failed, 2 on a warning with --strict */
export async function check(args: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = readArguments(args, { ...apiOptions, strict: { type: "boolean" }, wait: { type: "string" } });
  if (values.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(positionals);
  const format = values.output ?? "table";
  if (!isFormat(format)) throw new UsageError(`-o is table, short or json, not ${format}.`);
  const waitSeconds = Number(values.wait ?? "0");
  if (!(waitSeconds >= 0 && waitSeconds <= maxWaitSeconds)) throw new UsageError(`--wait takes seconds, at most ${maxWaitSeconds}.`);
  const ca = api(values, io);
  const untilMs = performance.now() + waitSeconds * 1000;
  let findings = await look(ca);
  while (failed(findings) && performance.now() < untilMs) {
    await sleep(waitIntervalMs);
    findings = await look(ca);
  }
  const text = { table: () => render(findings), short: () => render(findings.filter(({ status }) => status !== "ok")), json: () => `${JSON.stringify(findings, null, 2)}\n` };
  io.stdout(text[format]());
  if (failed(findings)) return 1;
  return values.strict === true && findings.some(({ status }) => status === "warning") ? 2 : 0;
}

async function look(ca: Api): Promise<readonly Finding[]> {
  try {
    const readiness = JSON.parse((await ca.probe(paths.readyz)).text) as Readiness;
    const { authorities } = await ca.call<AuthorityList>("GET", paths.authorities);
    return [{ category: "api", status: "ok", name: "the CA can be reached" }, ...judge({ readiness, authorities, nowMs: Date.now() })];
  } catch (error) {
    if (!(error instanceof ApiError || error instanceof SyntaxError)) throw error;
    const hint = error instanceof ApiError ? error.message : "what answers there is no CA; is --url right?";
    return [{ category: "api", status: "failed", name: "the CA can be reached", hint }];
  }
}

function failed(findings: readonly Finding[]): boolean {
  return findings.some(({ status }) => status === "failed");
}

function render(findings: readonly Finding[]): string {
  const lines: string[] = [];
  let category: string | undefined;
  for (const finding of findings) {
    if (finding.category !== category) lines.push(...(category === undefined ? [] : [""]), finding.category, "-".repeat(finding.category.length));
    category = finding.category;
    lines.push(`${signs[finding.status]} ${finding.name}`);
    if (finding.hint !== undefined) lines.push(wrap(finding.hint, "    "));
  }
  const worst = failed(findings) ? "failed" : findings.some(({ status }) => status === "warning") ? "warning" : "ok";
  return `${[...lines, "", verdicts[worst]].join("\n")}\n`;
}

function isFormat(text: string): text is "table" | "short" | "json" {
  return text === "table" || text === "short" || text === "json";
}

const signs = { ok: "√", warning: "‼", failed: "×" } as const;
const verdicts = { ok: "All is well: √", warning: "It works, but look at the lines with ‼", failed: "Something is wrong: see the lines with ×" } as const;
const waitIntervalMs = 1000;
const maxWaitSeconds = 3600;

const usage = `countersign check: whether the CA is well, line by line

  countersign check [--strict] [--wait SECONDS] [-o table|short|json]
      exit code 0, 1 when a line has ×, 2 with --strict when one has ‼
      --wait: look again until nothing has ×, at most so long
      -o short: only what is not well
${apiHelp}`;
