import { firewalls, InterceptError, type Firewall } from "./firewall.ts";
import { interceptHelp, InterceptUsageError, parseInterceptCommand } from "./options.ts";

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
    const [used, ...others] = firewalls();
    if (action === "status") return status([used, ...others], out);
    if (dryRun) {
      out(used.script(plan));
      return 0;
    }
    if (plan === undefined) used.remove();
    else used.install(plan);
    // Left from when this host had no other.
    for (const other of others) other.remove();
    out(plan === undefined
      ? "Removed: connections go where they went before. Those that are open stay as they are.\n"
      : `Installed by ${used.name}: new connections of this host go through the proxy, but for those of user ${plan.proxyUserId}.\n` +
        "Look at the rules with: countersign-proxy intercept status. Undo with: countersign-proxy intercept remove.\n");
    return 0;
  } catch (error) {
    if (!(error instanceof InterceptUsageError || error instanceof InterceptError)) throw error;
    err(`countersign-proxy intercept: ${error.message}\n`);
    return error instanceof InterceptUsageError ? 2 : 1;
  }
}

function status(all: readonly Firewall[], out: (text: string) => void): number {
  const installed = all.map((firewall) => firewall.installed()).find((rules) => rules !== undefined);
  out(installed ?? "Not installed: connections do not go through the proxy.\n");
  return installed === undefined ? 1 : 0;
}
