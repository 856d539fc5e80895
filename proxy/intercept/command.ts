import { spawnSync } from "node:child_process";
import { interceptHelp, InterceptUsageError, parseInterceptCommand } from "./options.ts";
import { interceptRules, removalRules, tableName } from "./rules.ts";

/** Where a command writes to. */
export interface CommandOutput {
  out(text: string): void;
  err(text: string): void;
}

/** Runs `countersign-proxy intercept ...`. @returns the exit code: 0 done, 1 not done (status: not installed), 2 wrong command line */
export function runIntercept(args: readonly string[], { out, err }: CommandOutput): number {
  if (args.includes("--help") || args.length === 0) {
    out(interceptHelp);
    return args.length === 0 ? 2 : 0;
  }
  try {
    const { action, plan, dryRun } = parseInterceptCommand(args);
    if (action === "status") return status(out);
    const rules = plan === undefined ? removalRules() : interceptRules(plan);
    if (dryRun) {
      out(rules);
      return 0;
    }
    nft(["-f", "-"], rules);
    out(plan === undefined
      ? "Removed: connections go where they went before. Those that are open stay as they are.\n"
      : `Installed: new connections of this host go through the proxy, but for those of user ${plan.proxyUserId}.\n` +
        "Look at the rules with: countersign-proxy intercept status. Undo with: countersign-proxy intercept remove.\n");
    return 0;
  } catch (error) {
    if (!(error instanceof InterceptUsageError || error instanceof InterceptError)) throw error;
    err(`countersign-proxy intercept: ${error.message}\n`);
    return error instanceof InterceptUsageError ? 2 : 1;
  }
}

/** nft could not do it; the message says what is missing. */
export class InterceptError extends Error {
  override readonly name = "InterceptError";
}

function status(out: (text: string) => void): number {
  const listed = nft(["list", "tables"], "");
  if (!listed.split("\n").includes(`table ${tableName}`)) {
    out("Not installed: connections do not go through the proxy.\n");
    return 1;
  }
  out(nft(["list", "table", ...tableName.split(" ")], ""));
  return 0;
}

function nft(args: readonly string[], input: string): string {
  const { error, status: code, stdout, stderr } = spawnSync("nft", args, { input, encoding: "utf8", timeout: nftTimeoutMs });
  if (error !== undefined) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    throw new InterceptError(missing ? "nft is not installed; install the package nftables" : `nft could not be run: ${error.message}`);
  }
  if (code === 0) return stdout;
  const hint = /not permitted|denied/i.test(stderr) ? "; run it as root, or with the capability CAP_NET_ADMIN" : "";
  throw new InterceptError(`nft refused (${stderr.trim().split("\n")[0] ?? `exit code ${code}`})${hint}. Nothing was changed`);
}

const nftTimeoutMs = 10_000;
