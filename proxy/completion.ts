import { completedShells, completionScript, type CompletedCommand, type CompletedProgram } from "../ca/settings/completion.ts";
import { configTable } from "./config/table.ts";
import { gatewayHelp } from "./gateway/command.ts";
import type { CommandOutput } from "./intercept/command.ts";
import { interceptHelp } from "./intercept/options.ts";
import { wireHelp } from "./intercept/verify-wire.ts";
import { tapHelp } from "./tap/command.ts";

/** Runs `countersign-proxy completion bash|zsh|fish`. @returns the exit code: 0 printed, 2 wrong command line */
export function runCompletion(args: readonly string[], { out, err }: CommandOutput): number {
  const [shell = "", ...rest] = args;
  const chosen = rest.length === 0 ? completedShells.find((one) => one === shell) : undefined;
  if (chosen === undefined) {
    (shell === "--help" ? out : err)(completionHelp);
    return shell === "--help" ? 0 : 2;
  }
  out(completionScript(chosen, program));
  return 0;
}

/** What `countersign-proxy completion --help` prints. */
export const completionHelp = `countersign-proxy completion: TAB completes commands and flags

  countersign-proxy completion bash|zsh|fish
      prints a script for that shell; for this session:
        source <(countersign-proxy completion bash)
        countersign-proxy completion fish | source
      for all: > /usr/share/bash-completion/completions/countersign-proxy
`;

const program: CompletedProgram = {
  name: "countersign-proxy",
  flags: ["--config", ...configTable.flatMap(({ flag }) => (flag === undefined ? [] : [`--${flag}`])), "--help"],
  commands: [
    // Its help tells of the proxy's own flags, too.
    commandOf(interceptHelp, "intercept", ["install", "remove", "status"], (flag) => flag !== "--transparent" && flag !== "--interface"),
    commandOf(gatewayHelp, "gateway"),
    commandOf(tapHelp, "tap"),
    commandOf(wireHelp, "verify-wire"),
    commandOf(completionHelp, "completion", completedShells),
  ],
};

/** By its help, whose first line says what it is for. */
function commandOf(help: string, name: string, actions: readonly string[] = [], isOwn: (flag: string) => boolean = () => true): CompletedCommand {
  const [, about = ""] = /^countersign-proxy [a-z-]+: (.*)/.exec(help) ?? [];
  const flags = [...help.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)].map(([flag]) => flag).filter(isOwn);
  return { name, about, actions, flags: [...new Set([...flags, "--help"])] };
}
