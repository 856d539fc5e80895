import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../infra/demo/place.ts";
import { programs } from "../../infra/demo/processes.ts";
import { countersign } from "./command-line.ts";
import { blocksOf, type Document } from "./readme-blocks.ts";

/**
 * A shell in which somebody follows a document: its blocks run as they stand there, in one shell and folder, but for what the table in
 * `adapted` says, and what the options do. A command that fails ends it.
 */
export interface Walk {
  readonly folder: string;
  /** Runs the blocks of a section that are not marked, or the one of that number. @returns what they printed, both streams */
  follow(section: string, number?: number): Promise<string>;
  /** Runs something else in the same shell. @returns what it printed */
  run(script: string): Promise<string>;
  /** The port that stands for one of the README's. */
  port(documented: number): number;
  /** Ends all that was started. */
  close(): Promise<void>;
}

export interface WalkOptions {
  readonly document?: Document;
  /** Stands for the document's Postgres. */
  readonly database?: string;
  /** Further environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** What stands in the document, and what is run instead; each has to be there. */
  readonly instead?: Readonly<Record<string, string>>;
  /** Command and arguments that run a program elsewhere: `ip netns exec NAME`. */
  readonly enter?: readonly string[];
  /** By its name, what answers for a program that is not here or would change this machine. */
  readonly standIns?: Readonly<Record<string, StandIn>>;
}

/**
 * What a program does with its arguments and standard input.
 * @returns what it prints
 * @throws {Error} where the program would fail; the walk then does
 */
export type StandIn = (args: readonly string[], input: string, folder: string) => string | Promise<string>;

export async function startWalk({ document = "README.md", database = "", env = {}, instead = {}, standIns = {}, enter = [] }: WalkOptions = {}): Promise<Walk> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-walk-"));
  const blocks = blocksOf(document, "sh").filter(({ mark }) => mark === "");
  const gone = Object.keys(instead).filter((text) => !blocks.some((block) => block.text.includes(text)));
  if (gone.length > 0) throw new Error(`${document} has no more what is to be replaced: ${gone.join(", ")}`);
  const documented = [...new Set(blocks.flatMap(({ text }) => [...text.matchAll(portPattern)].map(([, , port]) => Number(port))))];
  const ports = new Map(await Promise.all([...documented, ...defaultPorts].map(async (one) => [one, await freePort()] as const)));
  const port = (one: number): number => ports.get(one)!;
  const adapted = (text: string): string => Object.entries(instead).reduce((all, [one, other]) => all.replaceAll(one, other), text
    .replaceAll(portPattern, (_, before: string, one: string) => `${before}${port(Number(one))}`)
    .replaceAll("postgres://user@host/database", `'${database}'`)
    .replaceAll(/\b(SERIAL|TOKEN|ISSUER|NEXT-ROOT|ROOT)(?= --)/g, '"$(the $1)"')
    .replaceAll("sleep 10", "sleep 0.3"));
  writeShims(join(folder, ".bin"), port, Object.keys(standIns));
  // As on a terminal, where it shows no meter beside what it prints.
  writeFileSync(join(folder, ".curlrc"), "no-progress-meter\n");

  const faults: string[] = [];
  const answers = createServer((request, response) => {
    void answerFor(request).then((text) => response.end(text), (error: unknown) => {
      faults.push(String(error));
      response.writeHead(500).end();
    });
  });
  // A path, since `enter` may lead into another network.
  await new Promise<void>((resolve) => answers.listen(join(folder, ".bin", "answers"), resolve));

  async function answerFor(request: IncomingMessage): Promise<string> {
    const [, kind, name = ""] = request.url!.split("/");
    if (kind === "name") return nameOf(name, folder, port);
    let input = "";
    for await (const part of request.setEncoding("utf8")) input += String(part);
    const args = (request.headersDistinct["argument"] ?? []).map((one) => Buffer.from(one, "latin1").toString());
    return standIns[name]!(args, input, folder);
  }

  const [program = "", ...args] = [...enter, "bash", "--norc", "-s"];
  const shell = spawn(program, args, {
    cwd: folder, detached: true, stdio: "pipe",
    env: {
      PATH: `${join(folder, ".bin")}:${process.env["PATH"]}`, HOME: folder, LANG: "C.UTF-8", NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"] ?? join(folder, ".bin", "compiled"), THE: join(folder, ".bin", "answers"),
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
      // What fails inside of $( ) does not end the shell.
      if (faults.length > 0) throw new Error(`${faults.splice(0).join("\n")}\n${text}\n${output.slice(from)}`);
      if (end >= 0) return output.slice(from, end);
      if (shell.exitCode !== null || shell.signalCode !== null) throw new Error(`a command failed (${shell.exitCode ?? shell.signalCode}):\n${text}\n${output.slice(from)}${logsIn(folder)}`);
      await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  return {
    folder, port, run,
    follow: (section, number) => {
      const found = blocks.filter((block) => block.section === section).filter((_, index) => number === undefined || number === index);
      if (found.length === 0) throw new Error(`${document} has no commands under "${section}"`);
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
      answers.close();
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
function writeShims(folder: string, port: (documented: number) => number, standIns: readonly string[]): void {
  mkdirSync(folder);
  const program = (path: string): string => `"${process.execPath}" "${fileURLToPath(new URL(`../../${path}`, import.meta.url))}"`;
  const unless = (flag: string, documented: number): string => `case " $* " in *" ${flag} "*) ;; *) set -- "$@" ${flag} 127.0.0.1:${port(documented)} ;; esac;`;
  const shims = {
    countersign: `case "$*" in
  serve|"serve --data-dir"*) ${unless("--listen", 8443)} ;;
  "ceremony sign "*) set -- "$@" --passphrase-file "$HOME/.bin/passphrase" --confirm "$(tail -n 1 "$HOME/.bin/fingerprint")" ;;
  "ceremony import "*) set -- "$@" --confirm "$(tail -n 1 "$HOME/.bin/fingerprint")" ;;
esac
case "$1" in ceremony) ${program(programs.ca)} "$@" > "$HOME/.bin/said" || exit; cat "$HOME/.bin/said"; grep -oE '^  [0-9a-f-]{24}$' "$HOME/.bin/said" | tail -n 1 >> "$HOME/.bin/fingerprint"; exit 0 ;; esac
exec ${program(programs.ca)} "$@"
`,
    "countersign-proxy": `case "$1" in
  gateway) ${unless("--listen", 4143)} ${unless("--admin", 4191)} ;;
  intercept|verify-wire|tap|completion) ;;
  *) ${unless("--inbound", 4143)} ${unless("--outbound", 4140)} ${unless("--admin", 4191)} ;;
esac
exec ${program(programs.proxy)} "$@"
`,
    "demo-app": `exec ${program("infra/demo/world.ts")}\n`,
    "demo-kms": `exec ${program("infra/demo/kms.ts")} "$@"\n`,
    // What a person would copy from the output before.
    the: `exec curl -sSf --unix-socket "$THE" "http://walk/name/$1"\n`,
    ...Object.fromEntries(standIns.map((name) => [name, `for one; do set -- "$@" -H "argument: $one"; shift; done\nexec curl -sSf --unix-socket "$THE" --data-binary @- "$@" "http://walk/stand-in/${name}"\n`])),
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
/** One pipe for both streams: of two, what was said last on one may be read after the mark on the other. */
const prelude = "exec 2>&1\nset -e -o pipefail\n";
