import { wrap } from "./wrap.ts";

/** One setting: where it can come from, what it is when nobody says, and what a wrong value does. */
export interface Setting<Key extends string = string, Unit extends string = string> {
  /** Name in the JSON file given with `--config`. */
  readonly key: Key;
  readonly env: string;
  /** Undefined for secrets: a command line is readable by every process of the machine. */
  readonly flag: string | undefined;
  /** As a user would write it; undefined when there is none. */
  readonly default: string | undefined;
  readonly unit: Unit;
  readonly about: string;
  /** What goes wrong when it is set carelessly. */
  readonly danger?: string;
  readonly choices?: readonly string[];
}

/** Makes settings whose environment variables begin with `envPrefix`: `listenHost` is `<envPrefix>LISTEN_HOST` and `--listen-host`. */
export function settingsOf<Key extends string, Unit extends string>(envPrefix: string) {
  return (
    key: Key, unit: Unit, fallback: string | undefined, about: string, danger?: string, choices?: readonly string[],
  ): Setting<Key, Unit> => {
    const words = key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`);
    return {
      key, unit, about, default: fallback,
      env: `${envPrefix}${words.toUpperCase()}`,
      flag: words.replaceAll("_", "-").toLowerCase(),
      ...(danger === undefined ? {} : { danger }),
      ...(choices === undefined ? {} : { choices }),
    };
  };
}

/** A table of settings as Markdown, for the README. */
export function renderSettingsTable(table: readonly Setting[]): string {
  const rows = table.map(({ key, env, flag, default: value, unit, about, danger, choices }) => {
    const described = choices === undefined ? about : `${about} One of ${choices.join(", ")}.`;
    // Stacked, so that the table is no wider than a page.
    const names = [`\`${key}\``, `\`${env}\``, flag === undefined ? "no flag" : `\`--${flag}\``].join("<br>");
    const form = [...(value ? [`Default: \`${value}\``] : []), ...(unit === "text" ? [] : [unit])].join(", ");
    return [names, form === "" ? described : `${described}<br>${form.charAt(0).toUpperCase()}${form.slice(1)}.`, danger ?? ""];
  });
  const header = ["key in the file, environment, flag", "what it is, default, unit", "danger"];
  return [header, header.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |\n`).join("");
}

/** A table of settings as the options section of a command's `--help`, for a terminal of 80 columns. */
export function renderSettingsHelp(table: readonly Setting[]): string {
  return table
    .map(({ env, flag, default: value, about, choices }) => {
      const names = flag === undefined ? env : `--${flag} (${env})`;
      const choice = choices === undefined ? "" : ` One of ${choices.join(", ")}.`;
      return `  ${names}\n${wrap(`${about}${choice}${value ? ` [default: ${value}]` : ""}`, "      ")}\n`;
    })
    .join("");
}
