import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../infra/demo/place.ts";
import { programs } from "../../infra/demo/processes.ts";
import { blocksOf } from "./readme-blocks.ts";

/**
 * A shell in which somebody follows the README: its blocks run as they stand there, in one shell and folder, but for what the table in
 * `adapted` says. A command that fails ends it.
 */
export interface Walk {
  readonly folder: string;
  /** Runs the blocks of a section that are not marked. @returns what they printed, both streams */
  follow(section: string): Promise<string>;
  /** Runs something else in the same shell. @returns what it printed */
  run(script: string): Promise<string>;
  /** The port that stands for one of the README's. */
  port(documented: number): number;
  /** Ends all that was started. */
  close(): Promise<void>;
}

/** @param database  stands for the README's Postgres @param env  further environment */
export async function startWalk({ database = "", env = {} }: { readonly database?: string; readonly env?: Readonly<Record<string, string>> } = {}): Promise<Walk> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-walk-"));
  const blocks = blocksOf("README.md", "sh").filter(({ mark }) => mark === "");
  const documented = [...new Set(blocks.flatMap(({ text }) => [...text.matchAll(portPattern)].map(([, , port]) => Number(port))))];
  const ports = new Map(await Promise.all([...documented, ...defaultPorts].map(async (one) => [one, await freePort()] as const)));
  const port = (one: number): number => ports.get(one)!;
  const adapted = (text: string): string => text
    .replaceAll(portPattern, (_, before: string, one: string) => `${before}${port(Number(one))}`)
    .replaceAll("postgres://user@host/database", `'${database}'`)
    .replaceAll(/\b(SERIAL|TOKEN|ISSUER|NEXT-ROOT|ROOT)(?= --data-dir)/g, '"$(the $1)"')
    .replaceAll("sleep 10", "sleep 0.3");
  writeShims(join(folder, ".bin"), port);

  // The script comes by a pipe of its own, so that no command reads it as its input.
  const shell = spawn("bash", ["--norc", "/dev/fd/3"], {
    cwd: folder, detached: true, stdio: ["ignore", "pipe", "pipe", "pipe"],
    env: {
      PATH: `${join(folder, ".bin")}:${process.env["PATH"]}`, HOME: folder, COUNTERSIGN_URL: `https://127.0.0.1:${port(8443)}`, ...quick, ...env,
    },
  });
  const exited = once(shell, "exit");
  let output = "";
  let wake = (): void => undefined;
  for (const stream of [shell.stdout!, shell.stderr!]) stream.setEncoding("utf8").on("data", (text: string) => void (output += text, wake()));
  shell.on("exit", () => wake());
  const script = shell.stdio[3] as NodeJS.WritableStream;
  script.on("error", () => undefined);
  script.write(prelude);
  let marks = 0;

  async function run(text: string): Promise<string> {
    const mark = `-- ${marks += 1} --\n`;
    const from = output.length;
    script.write(`${text}\nprintf '%s' '${mark}'\n`);
    for (;;) {
      const end = output.indexOf(mark, from);
      if (end >= 0) return output.slice(from, end);
      if (shell.exitCode !== null || shell.signalCode !== null) throw new Error(`a command failed (${shell.exitCode ?? shell.signalCode}):\n${text}\n${output.slice(from)}`);
      await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  return {
    folder, port, run,
    follow: (section) => {
      const found = blocks.filter((block) => block.section === section);
      if (found.length === 0) throw new Error(`the README has no commands under "${section}"`);
      return run(adapted(found.map(({ text }) => text).join("")));
    },
    async close() {
      // Its own group: the shell and all that it started.
      try {
        process.kill(-shell.pid!, "SIGTERM");
      } catch {
        // All of it has ended.
      }
      shell.kill("SIGKILL");
      await exited;
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}

/** Programs under the names of the README's aliases, on free ports where a command leaves them to their defaults; and what a person would type. */
function writeShims(folder: string, port: (documented: number) => number): void {
  mkdirSync(folder);
  const program = (path: string): string => `"${process.execPath}" "${fileURLToPath(new URL(`../../${path}`, import.meta.url))}"`;
  const unless = (flag: string, documented: number): string => `case " $* " in *" ${flag} "*) ;; *) set -- "$@" ${flag} 127.0.0.1:${port(documented)} ;; esac\n`;
  const shims = {
    countersign: `case "$*" in
  serve|"serve --data-dir"*) ${unless("--listen", 8443).trim()} ;;
  "ceremony sign "*) set -- "$@" --passphrase-file "$HOME/.bin/passphrase" --confirm "$(tail -n 1 "$HOME/.bin/fingerprint")" ;;
  "ceremony import "*) set -- "$@" --confirm "$(tail -n 1 "$HOME/.bin/fingerprint")" ;;
esac
case "$1" in ceremony) ${program(programs.ca)} "$@" > "$HOME/.bin/said" || exit; cat "$HOME/.bin/said"; grep -oE '^  [0-9a-f-]{24}$' "$HOME/.bin/said" | tail -n 1 >> "$HOME/.bin/fingerprint"; exit 0 ;; esac
exec ${program(programs.ca)} "$@"
`,
    "countersign-proxy": `${unless("--inbound", 4143)}${unless("--outbound", 4140)}${unless("--admin", 4191)}exec ${program(programs.proxy)} "$@"\n`,
    "demo-app": `exec ${program("infra/demo/world.ts")}\n`,
    "demo-kms": `exec ${program("infra/demo/kms.ts")} "$@"\n`,
    the: `case $1 in
  SERIAL) countersign certificate list --data-dir east --id spiffe://east.example/ns/default/sa/hello --status valid -o json | read_json 'all => all[0].serialNumber' ;;
  TOKEN) countersign token list --data-dir east -o json | read_json 'all => all.find((one) => one.spiffeId?.endsWith("/hello")).id' ;;
  ISSUER) countersign authority list --data-dir east -o json | read_json 'all => all.findLast(({ type, state }) => type === "issuer" && state !== "active" || type === "issuer").id' ;;
  NEXT-ROOT) countersign authority list --data-dir east -o json | read_json 'all => all.find(({ type, state }) => type === "root" && state === "prepared").id' ;;
  ROOT) cat "$HOME/.bin/root" ;;
esac
`,
    read_json: `exec "${process.execPath}" -e 'const found = eval(process.argv[1])(JSON.parse(require("fs").readFileSync(0, "utf8"))); if (!found) throw new Error("not found"); console.log(found);' "$1"\n`,
  };
  for (const [name, text] of Object.entries(shims)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}`);
    chmodSync(join(folder, name), 0o755);
  }
  writeFileSync(join(folder, "passphrase"), "six random words are enough here\n", { mode: 0o600 });
  writeFileSync(join(folder, "fingerprint"), "");
}

const portPattern = /(127\.0\.0\.1:|\bPORT=)(\d{4,5})\b/g;
/** Where commands are without a flag. */
const defaultPorts = [8443, 4143, 4140, 4191];
/** What takes a minute by default. */
const quick = { COUNTERSIGN_BUNDLE_REFRESH_HINT: "1s", COUNTERSIGN_FEDERATION_SETTLE: "200ms", COUNTERSIGN_RENEW_WINDOW: "1s" };
const prelude = "set -e -o pipefail\n";
