/** What a program takes, as its own help says. */
export interface CompletedProgram {
  readonly name: string;
  /** Where no command is given. */
  readonly flags: readonly string[];
  readonly commands: readonly CompletedCommand[];
}

export interface CompletedCommand {
  readonly name: string;
  /** One line. */
  readonly about: string;
  readonly actions: readonly string[];
  readonly flags: readonly string[];
}

export const completedShells = ["bash", "zsh", "fish"] as const;
export type CompletedShell = (typeof completedShells)[number];

/** A script that has TAB complete commands, actions and flags. */
export function completionScript(shell: CompletedShell, program: CompletedProgram): string {
  return { bash, zsh, fish }[shell](program);
}

function bash({ name, flags, commands }: CompletedProgram): string {
  const complete = functionOf(name);
  const cases = commands.map((command) => `    ${command.name}) actions="${command.actions.join(" ")}" flags="${command.flags.join(" ")}" ;;\n`);
  return `# ${name}: completion for bash; source it, or put it into /usr/share/bash-completion/completions/${name}
${complete}() {
  local word="\${COMP_WORDS[COMP_CWORD]}" actions="" flags="${flags.join(" ")}"
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ] && [[ "$word" != -* ]]; then
    COMPREPLY=($(compgen -W "${commands.map((command) => command.name).join(" ")}" -- "$word"))
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
complete -o default -F ${complete} ${name}
`;
}

function zsh({ name, flags, commands }: CompletedProgram): string {
  const complete = functionOf(name);
  const described = commands.map((command) => `    '${command.name}:${command.about.replaceAll("'", "'\\''")}'\n`);
  const cases = commands.map((command) => `    ${command.name}) actions=(${command.actions.join(" ")}) flags=(${command.flags.join(" ")}) ;;\n`);
  return `#compdef ${name}
# ${name}: completion for zsh; source it, or put it into a folder of $fpath as ${complete}
${complete}() {
  local -a commands actions flags
  commands=(
${described.join("")}  )
  flags=(${flags.join(" ")})
  case $words[2] in
${cases.join("")}  esac
  if [[ $words[CURRENT] == -* ]]; then
    compadd -- $flags
  elif (( CURRENT == 2 )); then
    _describe command commands
  elif (( CURRENT == 3 && $#actions )); then
    compadd -- $actions
  else
    _files
  fi
}
if [[ $funcstack[1] == ${complete} ]]; then ${complete} "$@"; else
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
  compdef ${complete} ${name}
fi
`;
}

function fish({ name, flags, commands }: CompletedProgram): string {
  const quoted = (text: string): string => `'${text.replaceAll(/['\\]/g, "\\$&")}'`;
  const flag = (text: string): string => (text.startsWith("--") ? `-l ${text.slice(2)}` : `-s ${text.slice(1)}`);
  const lines = commands.flatMap((command) => {
    const within = `-n '__fish_seen_subcommand_from ${command.name}'`;
    return [
      `complete -c ${name} -n __fish_use_subcommand -f -a ${command.name} -d ${quoted(command.about)}`,
      ...(command.actions.length === 0 ? [] : [`complete -c ${name} ${within} -n 'test (count (commandline -opc)) -eq 2' -f -a ${quoted(command.actions.join(" "))}`]),
      ...command.flags.map((each) => `complete -c ${name} ${within} ${flag(each)}`),
    ];
  });
  return `# ${name}: completion for fish; source it, or put it into ~/.config/fish/completions/${name}.fish
${[...flags.map((each) => `complete -c ${name} -n __fish_use_subcommand ${flag(each)}`), ...lines].join("\n")}
`;
}

const functionOf = (program: string): string => `_${program.replaceAll("-", "_")}`;
