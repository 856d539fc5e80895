import { chooseAction, noMore, readArguments } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { completedShells, completionScript, type CompletedCommand } from "../settings/completion.ts";

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
  const chosen = chooseAction("completion", shell, completedShells);
  const commands = (await helps()).map(([name, about, help]) => wordsOf(name, about, help));
  const help = { name: "help", about: "what a command does", actions: commands.map(({ name }) => name), flags: [] };
  const version = { name: "version", about: "which version this is", actions: [], flags: [] };
  io.stdout(completionScript(chosen, { name: "countersign", flags: ["--help", "--version"], commands: [...commands, help, version] }));
  return 0;
}

/** Takes actions and flags out of a command's help: what it tells is what is completed. */
export function wordsOf(name: string, about: string, text: string): CompletedCommand {
  // Other commands that it mentions have flags of their own.
  const help = text.replace(new RegExp(`(?:kubectl|countersign(?! ${name}\\b)|countersign-proxy) .*$`, "gm"), "");
  const actions = [...help.matchAll(new RegExp(`^ *countersign ${name} ([a-z][a-z-]*)(?![\\w:])`, "gm"))].map(([, action]) => action ?? "");
  const listed = [...help.matchAll(new RegExp(`^ *countersign ${name} ([a-z|-]+\\|[a-z|-]+)`, "gm"))].flatMap(([, list]) => (list ?? "").split("|"));
  const flags = [...help.matchAll(/(?<![\w-])(--[a-z][a-z0-9-]*|-[a-z](?=[ \],]))/g)].map(([, flag]) => flag ?? "");
  return { name, about, actions: unique([...actions, ...listed]), flags: unique([...flags, "--help"]) };
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
