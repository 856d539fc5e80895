import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../infra/demo/place.ts";
import { programs } from "../../infra/demo/processes.ts";
import { countersign } from "./command-line.ts";
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
    .replaceAll(/\b(SERIAL|TOKEN|ISSUER|NEXT-ROOT|ROOT)(?= --)/g, '"$(the $1)"')
    .replaceAll("sleep 10", "sleep 0.3");
  writeShims(join(folder, ".bin"), port);
  // As on a terminal, where it shows no meter beside what it prints.
  writeFileSync(join(folder, ".curlrc"), "no-progress-meter\n");

  const names = createServer((request, response) => {
    nameOf(request.url!.slice(1), folder, port).then((name) => response.end(name), (error: unknown) => response.writeHead(500, { reason: String(error) }).end());
  });
  await new Promise<void>((resolve) => names.listen(0, "127.0.0.1", resolve));

  const shell = spawn("bash", ["--norc", "-s"], {
    cwd: folder, detached: true, stdio: "pipe",
    env: {
      PATH: `${join(folder, ".bin")}:${process.env["PATH"]}`, HOME: folder, LANG: "C.UTF-8", NODE_COMPILE_CACHE: join(folder, ".bin", "compiled"), THE: `http://127.0.0.1:${(names.address() as AddressInfo).port}`,
      COUNTERSIGN_URL: `https://127.0.0.1:${port(8443)}`, ...quick, ...env,
    },
  });
  const exited = once(shell, "exit");
  let output = "";
  let wake = (): void => undefined;
  for (const stream of [shell.stdout, shell.stderr]) stream.setEncoding("utf8").on("data", (text: string) => void (output += text, wake()));
  shell.on("exit", () => wake());
  shell.stdin.on("error", () => undefined);
  shell.stdin.write(prelude);
  let marks = 0;

  async function run(text: string): Promise<string> {
    const mark = `-- ${marks += 1} --\n`;
    const from = output.length;
    // In braces it is read whole before it runs: no command takes what follows for its input.
    shell.stdin.write(`{\n${text}\n} < /dev/null\nprintf '%s' '${mark}'\n`);
    for (;;) {
      const end = output.indexOf(mark, from);
      if (end >= 0) return output.slice(from, end);
      if (shell.exitCode !== null || shell.signalCode !== null) throw new Error(`a command failed (${shell.exitCode ?? shell.signalCode}):\n${text}\n${output.slice(from)}${logsIn(folder)}`);
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
      names.close();
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}

/** What stands for the README's words in capitals: of the CA in the folder `east`. */
async function nameOf(word: string, folder: string, port: (documented: number) => number): Promise<string> {
  const read = async (...args: readonly string[]): Promise<readonly Readonly<Record<string, string | undefined>>[]> => {
    const { stdout, stderr } = await countersign([...args, "-o", "json", "--data-dir", join(folder, "east")], { COUNTERSIGN_URL: `https://127.0.0.1:${port(8443)}` });
    if (stdout === "") throw new Error(stderr);
    return JSON.parse(stdout) as Readonly<Record<string, string>>[];
  };
  const authority = async (...wanted: readonly string[]): Promise<string | undefined> => {
    const oldestFirst = [...await read("authority", "list")].sort((one, other) => (one["notBefore"]! < other["notBefore"]! ? -1 : 1));
    return wanted.map((one) => oldestFirst.find(({ type, state }) => one === `${state} ${type}`)?.["id"]).find((id) => id !== undefined);
  };
  const lookups: Readonly<Record<string, () => Promise<string | undefined>>> = {
    SERIAL: async () => (await read("certificate", "list", "--id", "spiffe://east.example/ns/default/sa/hello", "--status", "valid"))[0]?.["serialNumber"],
    TOKEN: async () => (await read("token", "list")).find(({ spiffeId }) => spiffeId?.endsWith("/hello"))?.["id"],
    ISSUER: () => authority("tainted issuer", "active issuer"),
    "NEXT-ROOT": () => authority("prepared root"),
    ROOT: () => authority("tainted root", "retiring root"),
  };
  const name = await lookups[word]?.();
  if (name === undefined) throw new Error(`nothing is there that ${word} could stand for`);
  return name;
}

/** The ends of what processes in the background have written. */
function logsIn(folder: string): string {
  return readdirSync(folder).filter((name) => name.endsWith(".log")).map((name) => `\n${name}:\n${readFileSync(join(folder, name), "utf8").slice(-2000)}`).join("");
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
    // What a person would copy from the output before.
    the: `exec curl -sSf "$THE/$1"\n`,
  };
  for (const [name, text] of Object.entries(shims)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}`);
    chmodSync(join(folder, name), 0o755);
  }
  writeFileSync(join(folder, "passphrase"), "six random words are enough here\n", { mode: 0o600 });
  writeFileSync(join(folder, "fingerprint"), "");
}

const portPattern = /(127\.0\.0\.1:|\bPORT=|\bport: )(\d{4,5})\b/g;
/** Where commands are without a flag. */
const defaultPorts = [8443, 4143, 4140, 4191];
/** What takes a minute by default. */
const quick = { COUNTERSIGN_BUNDLE_REFRESH_HINT: "1s", COUNTERSIGN_FEDERATION_SETTLE: "200ms", COUNTERSIGN_RENEW_WINDOW: "1s" };
const prelude = "set -e -o pipefail\n";
