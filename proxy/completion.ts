import { configTable } from "./config-table.ts";
import { gatewayHelp } from "./gateway/command.ts";
import type { CommandOutput } from "./intercept/command.ts";
import { interceptHelp } from "./intercept/options.ts";
import { wireHelp } from "./intercept/verify-wire.ts";
import { tapHelp } from "./tap/command.ts";

/** Runs `countersign-proxy completion bash|zsh|fish`. @returns the exit code: 0 printed, 2 wrong command line */
export function runCompletion(args: readonly string[], { out, err }: CommandOutput): number {
  const [shell = "", ...rest] = args;
  const render = rest.length === 0 && Object.hasOwn(renderers, shell) ? renderers[shell] : undefined;
  if (render === undefined) {
    (shell === "--help" ? out : err)(completionHelp);
    return shell === "--help" ? 0 : 2;
  }
  out(render());
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

const flagsIn = (help: string): readonly string[] => [...new Set([...help.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)].map(([flag]) => flag))];

/** What each command takes; the first is the proxy itself. */
const commands: Readonly<Record<string, readonly string[]>> = {
  "": ["--config", ...configTable.flatMap(({ flag }) => (flag === undefined ? [] : [`--${flag}`])), "--help", "--version"],
  // Its help tells of the proxy's own flags, too.
  intercept: [...flagsIn(interceptHelp).filter((flag) => flag !== "--transparent" && flag !== "--interface"), "--help"],
  gateway: [...flagsIn(gatewayHelp), "--help"],
  tap: flagsIn(tapHelp),
  "verify-wire": [...flagsIn(wireHelp), "--help"],
  completion: ["--help"],
};
const actions: Readonly<Record<string, readonly string[]>> = { intercept: ["install", "remove", "status"], completion: ["bash", "zsh", "fish"] };
const names = Object.keys(commands).filter((name) => name !== "");

function bash(): string {
  const cases = names.map((name) => `    ${name}) actions="${(actions[name] ?? []).join(" ")}" flags="${commands[name]!.join(" ")}" ;;\n`);
  return `# countersign-proxy: completion for bash; source it, or put it into /usr/share/bash-completion/completions/countersign-proxy
_countersign_proxy() {
  local word="\${COMP_WORDS[COMP_CWORD]}" actions="" flags="${commands[""]!.join(" ")}"
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ] && [[ "$word" != -* ]]; then
    COMPREPLY=($(compgen -W "${names.join(" ")}" -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join("")}  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$word")) ;;
    *) if [ "$COMP_CWORD" -eq 2 ]; then COMPREPLY=($(compgen -W "$actions" -- "$word")); fi ;;
  esac
}
# Where nothing of ours fits, a file may be meant.
complete -o default -F _countersign_proxy countersign-proxy
`;
}

function zsh(): string {
  const cases = names.map((name) => `    ${name}) actions=(${(actions[name] ?? []).join(" ")}) flags=(${commands[name]!.join(" ")}) ;;\n`);
  return `#compdef countersign-proxy
# countersign-proxy: completion for zsh; source it after compinit, or put it into a folder of $fpath as _countersign-proxy
_countersign_proxy() {
  local -a actions flags
  flags=(${commands[""]!.join(" ")})
  case $words[2] in
${cases.join("")}  esac
  if [[ $words[CURRENT] == -* ]]; then
    compadd -- $flags
  elif (( CURRENT == 2 )); then
    compadd -- ${names.join(" ")}
  elif (( CURRENT == 3 && $#actions )); then
    compadd -- $actions
  else
    _files
  fi
}
if [[ $funcstack[1] == _countersign_proxy ]]; then _countersign_proxy "$@"; else compdef _countersign_proxy countersign-proxy; fi
`;
}

function fish(): string {
  const of = (name: string): string => (name === "" ? "-n __fish_use_subcommand" : `-n '__fish_seen_subcommand_from ${name}'`);
  const lines = Object.entries(commands).flatMap(([name, flags]) => flags.map((flag) => `complete -c countersign-proxy ${of(name)} -l ${flag.slice(2)}`));
  const told = Object.entries(actions).map(([name, list]) => `complete -c countersign-proxy ${of(name)} -f -a '${list.join(" ")}'`);
  return `# countersign-proxy: completion for fish; source it, or put it into ~/.config/fish/completions/countersign-proxy.fish
complete -c countersign-proxy -n __fish_use_subcommand -f -a '${names.join(" ")}'
${[...told, ...lines].join("\n")}
`;
}

const renderers: Readonly<Record<string, () => string>> = { bash, zsh, fish };
