import { apiHelp } from "./api.ts";

/** A command, one line about it, and what its `--help` prints. */
export type HelpText = readonly [name: string, about: string, help: string];

/** All commands as Markdown, for ca/README.md: their own helps, folded, with what many have in common once at the end. */
export function renderCommands(helps: readonly HelpText[]): string {
  const common = apiHelp.trim();
  const folded = helps.map(([name, about, help]) => {
    const own = help.replace(apiHelp, "\nand which CA, and as whom: see below\n").replace(/(\(--config\), in this order:\n)[^]*$/, "$1  see the table in README.md\n");
    return details(`<code>countersign ${name}</code>: ${about}`, own);
  });
  return [...folded, details("Which CA, and as whom, of all commands that call the API", common)].join("");
}

function details(summary: string, text: string): string {
  return `<details><summary>${summary}</summary>\n\n\`\`\`text\n${text.trim()}\n\`\`\`\n\n</details>\n`;
}
