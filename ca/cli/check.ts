import { setTimeout as sleep } from "node:timers/promises";
import packageJson from "../../package.json" with { type: "json" };
import { gatherFacts } from "../check/gather.ts";
import { judge } from "../check/judge.ts";
import { finding, verdictOf } from "../check/finding.ts";
import { paths } from "../contract/paths.ts";
import { api, ApiError, apiHelp, apiOptions, type Api } from "./api.ts";
import { noMore, readArguments, seconds, UsageError } from "./arguments.ts";
import { checkedCa, readKeptLog, type KeptFiles } from "./check-facts.ts";
import { gatherBeforeInstall } from "./check-pre.ts";
import { forPrograms, installedPage, renderFindings, type Format, type Report } from "./check-report.ts";
import { judgeBeforeInstall } from "../check/before-install.ts";
import type { CliIo } from "./io.ts";
import { endingWith, keepLooking } from "./watching.ts";

/**
 * `countersign check`: whether the CA is well, line by line.
 * @param stopped  resolves when the process is asked to end
 * @returns 0, 1 when something failed, 2 on a warning with --strict; with --watch as it was last
 */
export async function check(args: readonly string[], io: CliIo, stopped: () => Promise<unknown>): Promise<number> {
  const { values, positionals } = readArguments(args, { ...apiOptions, ...checkOptions });
  if (values.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(positionals);
  const format = values.output ?? "table";
  if (!isFormat(format)) throw new UsageError(`-o is table, short or json, not ${format}.`);
  const waitSeconds = values.wait === undefined ? 0 : seconds(values.wait, "--wait");
  if (waitSeconds > maxWaitSeconds) throw new UsageError(`--wait is at most ${maxWaitSeconds / 60}m.`);
  if (values.watch === true && (values.pre === true || values.wait !== undefined)) throw new UsageError("--watch goes with neither --pre nor --wait.");
  const ending = values.watch === true ? endingWith(stopped) : undefined;
  const look = values.pre === true ? () => lookBefore(values, io) : lookAt(values, io, ending);
  const report = ending === undefined ? await lookUntilWell(look, waitSeconds, io) : await watchFindings(look, format, ending, io);
  if (ending === undefined) io.stdout(renderFindings(report, format, io));
  const verdict = verdictOf(report.findings);
  if (verdict === "failed") return 1;
  return values.strict === true && verdict === "warning" ? 2 : 0;
}

async function lookUntilWell(look: () => Promise<Report>, waitSeconds: number, io: CliIo): Promise<Report> {
  const untilMs = performance.now() + waitSeconds * 1000;
  for (;;) {
    const report = await look();
    const { findings } = report;
    if (verdictOf(findings) !== "failed" || performance.now() >= untilMs) return report;
    const failed = findings.filter(({ status }) => status === "failed");
    if (io.isTerminal) io.stderr(`waiting for ${failed.length}: ${failed[0]?.name}\n`);
    await sleep(waitIntervalMs);
  }
}

/** On a screen where not all lines fit, those that are not well come alone. @returns the last ones */
async function watchFindings(look: () => Promise<Report>, format: Format, ending: AbortSignal, io: CliIo): Promise<Report> {
  let last: Report = { findings: [], page: "" };
  const lookOnce = async () => {
    const report = await look();
    // What ended us ended the look as well: that tells nothing about the CA.
    if (!ending.aborted) last = report;
    return {
      value: forPrograms(last),
      draw({ rows }: { readonly rows: number }) {
        const whole = renderFindings(last, format, io);
        return whole.split("\n").length <= rows + 1 ? whole : renderFindings(last, "short", io);
      },
    };
  };
  await keepLooking({ command: "check", look: lookOnce, json: format === "json", intervalMs: watchIntervalMs, ending }, io);
  return last;
}

function lookAt(values: Values, io: CliIo, ending?: AbortSignal): () => Promise<Report> {
  const files: KeptFiles = { dataDir: values["data-dir"] ?? io.env["COUNTERSIGN_DATA_DIR"] ?? "./.countersign", checkpoints: values.checkpoint ?? [], key: values.key };
  let ca: Api | undefined;
  return async () => {
    try {
      // The root may come while we wait: a CA that starts for the first time writes it.
      ca ??= api(values, io, ending);
      const facts = await gatherFacts(checkedCa(ca), { kept: readKeptLog(files), version: packageJson.version, now: Date.now });
      return { findings: [finding("api-reachable"), ...judge(facts)], page: `${ca.url}${paths.docs}` };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return { findings: [finding("api-reachable", { status: "failed", what: error.message, remedy: "" })], page: installedPage() };
    }
  };
}

async function lookBefore({ config, store, "data-dir": dataDir, listen }: Values, { env }: CliIo): Promise<Report> {
  const flags = Object.entries({ config, store, "data-dir": dataDir, listen }).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  return { findings: judgeBeforeInstall(await gatherBeforeInstall({ flags: Object.fromEntries(flags) as Record<string, string>, env })), page: installedPage() };
}

function isFormat(text: string): text is Format {
  return text === "table" || text === "short" || text === "json";
}

const checkOptions = {
  strict: { type: "boolean" }, watch: { type: "boolean" }, wait: { type: "string" }, pre: { type: "boolean" }, checkpoint: { type: "string", multiple: true }, key: { type: "string" },
  config: { type: "string" }, store: { type: "string" }, listen: { type: "string" },
} as const;
type Values = ReturnType<typeof readArguments<typeof checkOptions & typeof apiOptions>>["values"];

const waitIntervalMs = 1000;
/** A look is a dozen requests. */
const watchIntervalMs = 5000;
const maxWaitSeconds = 3600;

const usage = `countersign check: whether the CA is well, line by line

  countersign check [--strict] [--wait 5m|--watch] [-o table|short|json]
      exit code 0, 1 when a line has ×, 2 with --strict when one has ‼
      --wait: look again until nothing has ×, at most so long
      --watch: live, until Ctrl-C; with -o json a line for each change
      -o short: only what is not well
      --checkpoint FILE: one kept elsewhere, which the log must continue; may
      be repeated; --key VKEY: the log's key (DATA-DIR/audit-log.vkey)
  countersign check --pre [--config FILE] [--store URL] [--listen ADDRESS]
      before a CA is installed here: settings, folder, address, database

Each line that is not well leads to the CA's own page about it, /docs.
An admin or auditor sees all.
${apiHelp}`;
