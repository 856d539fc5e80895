import { countersign } from "./command-line.ts";
import { blocksOf, commandsOf, type Document } from "./readme-blocks.ts";

export interface InProcessWalkOptions {
  readonly document: Document;
  /** All the environment that the commands see. */
  readonly env: Readonly<Record<string, string>>;
  /** Starts what `countersign serve` would; the words behind it are the command's own. */
  readonly serve?: (words: readonly string[]) => Promise<unknown>;
  /** What is run in place of a command's words. @param said  what those before it printed, on both streams */
  readonly adapted: (words: readonly string[], said: string) => readonly string[];
}

/** As `startWalk`, for blocks of `countersign` commands alone: cheaper, since no process is started. A command that fails ends it. */
export function inProcessWalk({ document, env, serve, adapted }: InProcessWalkOptions): { follow(section: string, number?: number): Promise<string> } {
  return {
    async follow(section, number) {
      const blocks = blocksOf(document, "sh").filter((block) => block.mark === "" && block.section === section);
      const commands = blocks.filter((_, index) => number === undefined || index === number).flatMap(commandsOf);
      if (commands.length === 0) throw new Error(`${document} has no commands under "${section}"`);
      let said = "";
      for (const { words } of commands) {
        if (words[0] === "serve" && serve !== undefined) {
          await serve(words.slice(1));
          continue;
        }
        const { exitCode, stdout, stderr } = await countersign(adapted(words, said), env);
        if (exitCode !== 0) throw new Error(`countersign ${words.join(" ")} ended with ${exitCode}:\n${stderr}`);
        said += `${stdout}${stderr}`;
      }
      return said;
    },
  };
}
