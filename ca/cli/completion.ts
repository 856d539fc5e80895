import { chooseAction, noMore, readArguments } from "./arguments.ts";
import type { CliIo } from "./io.ts";

/** What a command takes, as its own help says. */
export interface CommandWords {
  readonly name: string;
  readonly about: string;
  readonly actions: readonly string[];
  readonly flags: readonly string[];
}

/**
 * `countersign completion bash|zsh|fish`: a script that has TAB complete commands, actions and flags.
 * @param helps  each command's name, one line about it, and its help, from which its words are taken
 */
export async function completion(args: readonly string[], io: CliIo, helps: () => Promise<readonly (readonly [name: string, about: string, help: string])[]>): Promise<number> {
  const { values, positionals: [shell, ...rest] } = readArguments(args, {});
  if (values.help || shell === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  noMore(rest);
  const render = { bash, zsh, fish }[chooseAction("completion", shell, ["bash", "zsh", "fish"])];
  io.stdout(render((await helps()).map(([name, about, help]) => wordsOf(name, about, help))));
  return 0;
}

/** Takes actions and flags out of a command's help: what it tells is what is completed. */
export function wordsOf(name: string, about: string, text: string): CommandWords {
  // Other commands that it mentions have flags of their own.
  const help = text.replace(new RegExp(`(?:kubectl|countersign(?! ${name}\\b)|countersign-proxy) .*$`, "gm"), "");
  const actions = [...help.matchAll(new RegExp(`^ *countersign ${name} ([a-z][a-z-]*)(?![\\w:])`, "gm"))].map(([, action]) => action ?? "");
  const listed = [...help.matchAll(new RegExp(`^ *countersign ${name} ([a-z|-]+\\|[a-z|-]+)`, "gm"))].flatMap(([, list]) => (list ?? "").split("|"));
  const flags = [...help.matchAll(/(?<![\w-])(--[a-z][a-z0-9-]*|-[a-z](?=[ \],]))/g)].map(([, flag]) => flag ?? "");
  return { name, about, actions: unique([...actions, ...listed]), flags: unique([...flags, "--help"]) };
}

function bash(commands: readonly CommandWords[]): string {
  const cases = commands.map(({ name, actions, flags }) => `    ${name}) actions="${actions.join(" ")}" flags="${flags.join(" ")}" ;;\n`);
  return `# countersign: completion for bash; source it, or put it into /usr/share/bash-completion/completions/countersign
_countersign() {
  local word="\${COMP_WORDS[COMP_CWORD]}" actions="" flags=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${[...commands.map(({ name }) => name), "help", "version"].join(" ")}" -- "$word"))
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
complete -o default -F _countersign countersign
`;
}

function zsh(commands: readonly CommandWords[]): string {
  const described = commands.map(({ name, about }) => `    '${name}:${about.replaceAll("'", "'\\''")}'\n`);
  const cases = commands.map(({ name, actions, flags }) => `    ${name}) actions=(${actions.join(" ")}) flags=(${flags.join(" ")}) ;;\n`);
  return `#compdef countersign
# countersign: completion for zsh; source it after compinit, or put it into a folder of $fpath as _countersign
_countersign() {
  local -a commands actions flags
  commands=(
${described.join("")}  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  case $words[2] in
${cases.join("")}  esac
  if [[ $words[CURRENT] == -* ]]; then
    compadd -- $flags
  elif (( CURRENT == 3 && $#actions )); then
    compadd -- $actions
  else
    _files
  fi
}
if [[ $funcstack[1] == _countersign ]]; then _countersign "$@"; else compdef _countersign countersign; fi
`;
}

function fish(commands: readonly CommandWords[]): string {
  const quoted = (text: string): string => `'${text.replaceAll(/['\\]/g, "\\$&")}'`;
  const lines = commands.flatMap(({ name, about, actions, flags }) => {
    const within = `-n '__fish_seen_subcommand_from ${name}'`;
    return [
      `complete -c countersign -n __fish_use_subcommand -f -a ${name} -d ${quoted(about)}`,
      ...(actions.length === 0 ? [] : [`complete -c countersign ${within} -n 'test (count (commandline -opc)) -eq 2' -f -a ${quoted(actions.join(" "))}`]),
      ...flags.map((flag) => `complete -c countersign ${within} ${flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`}`),
    ];
  });
  return `# countersign: completion for fish; source it, or put it into ~/.config/fish/completions/countersign.fish
complete -c countersign -n __fish_use_subcommand -f -a 'help version'
${lines.join("\n")}
`;
}

const unique = (words: readonly string[]): readonly string[] => [...new Set(words)];

const usage = `countersign completion: TAB completes commands, actions and flags

  countersign completion bash|zsh|fish
      prints a script for that shell; for this session:
        source <(countersign completion bash)
        countersign completion fish | source
      for all: > /usr/share/bash-completion/completions/countersign

The proxy has its own: countersign-proxy completion bash|zsh|fish
`;
