import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, type Description } from "../inspect/describe.ts";
import { inert } from "../settings/inert.ts";
import { certificateItems, readContents, type Contents } from "../inspect/items.ts";
import { judgeContents, workloadIn, type Verdict } from "../inspect/judge.ts";
import type { Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { ApiError, apiOptions } from "./api.ts";
import { noMore, readArguments, required, UsageError } from "./arguments.ts";
import { revocationVerdicts } from "./inspect-revocation.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { whileWaiting } from "./progress.ts";
import { readServerChain } from "./server-chain.ts";
import { painter, signsOf } from "./signs.ts";
import { wrap } from "../settings/wrap.ts";

/** `countersign certificate inspect`: what a file or server shows, in plain words. @returns 1 when it would be refused */
export async function inspect(args: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals: [target, ...rest] } = readArguments(args, options);
  if (values.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(rest);
  const out = output(values.output, io);
  const source = required(target, "what to look at", "cart.pem, world:4143 or - for standard input");
  const nowMs = Date.now();
  const { contents, host, heading, warnings } = await open(source, values.servername, io);
  const anchors = anchorsOf(values.bundle ?? [], values["data-dir"] ?? io.env["COUNTERSIGN_DATA_DIR"] ?? "./.countersign");
  const things = contents.items.map((item) => describe(item, nowMs));
  const judged = judgeContents(contents, { anchors, trustDomain: values["trust-domain"], nowMs, host });
  const leaf = workloadIn(contents);
  // By the root in our folder it is our CA's; of what others signed nobody here could say.
  const isOurs = leaf !== undefined && values.bundle === undefined && anchors.length > 0 && judged[0]?.status === "ok";
  const verdicts = [...judged, ...(isOurs ? await revocationVerdicts(leaf, values, io) : []), ...warnings];
  if (out.json) out.print({ things: things.map(({ title, rows }) => ({ title, ...Object.fromEntries(rows) })), verdicts }, "");
  else io.stdout(render(heading, things, verdicts, io));
  return verdicts.some(({ status }) => status === "failed") ? 1 : 0;
}

interface Opened {
  readonly contents: Contents;
  readonly heading: string;
  /** Of a server. */
  readonly host?: string;
  readonly warnings: readonly Verdict[];
}

async function open(source: string, serverName: string | undefined, io: CliIo): Promise<Opened> {
  if (source !== "-" && !existsSync(source)) {
    const server = serverOf(source);
    if (server === undefined) throw new ApiError(`${source} is no file, nor a server such as world:4143`);
    const name = serverName ?? server.host;
    const { chain, protocol, application } = await whileWaiting(io, source, readServerChain(server.host, server.port, name));
    const heading = `${server.host} port ${server.port} speaks ${protocol}${application === undefined ? "" : ` with ${application}`} and shows ${chain.length} certificates`;
    return { contents: { items: certificateItems(chain) }, heading, host: name, warnings: [] };
  }
  if (serverName !== undefined) throw new UsageError("--servername is for a server.");
  const bytes = source === "-" ? await readInput(io) : readAll(source);
  const contents = readContents(bytes);
  const heading = `${source === "-" ? "standard input" : inert(source)} holds ${contents.items.length === 1 ? "one thing" : `${contents.items.length} things`}`;
  const isExposed = source !== "-" && contents.items.some(({ kind }) => kind === "private key") && (statSync(source).mode & 0o077) !== 0;
  return { contents, heading, warnings: isExposed ? [exposedKey] : [] };
}

async function readInput({ readStdin }: CliIo): Promise<Uint8Array> {
  try {
    return (await readStdin?.(maxBytes)) ?? new Uint8Array();
  } catch (cause) {
    throw new ApiError(`cannot read standard input: ${(cause as Error).message}`, { cause });
  }
}

/** `host:port`, `[::1]:port` or a URL. */
function serverOf(text: string): { readonly host: string; readonly port: number } | undefined {
  const url = /^https:\/\//.test(text) ? text : `https://${text}`;
  if (!URL.canParse(url)) return undefined;
  const { hostname, port } = new URL(url);
  if (port === "" && !text.startsWith("https://") && !/:443$/.test(text)) return undefined;
  return { host: hostname.replace(/^\[|\]$/g, ""), port: port === "" ? 443 : Number(port) };
}

function anchorsOf(bundles: readonly string[], dataDir: string): readonly Certificate[] {
  const own = join(dataDir, "root.pem");
  const files = bundles.length > 0 ? bundles : existsSync(own) ? [own] : [];
  return files.flatMap((file) => {
    const anchors = readContents(readAll(file)).items.flatMap((item) => {
      if (item.kind === "bundle" && !(item.read instanceof PkiError)) return item.read.x509Authorities;
      return item.kind === "certificate" && !(item.read instanceof PkiError) ? [item.read] : [];
    });
    if (anchors.length === 0) throw new ApiError(`${file} holds no certificate to trust; it is to be a SPIFFE bundle, or roots in PEM`);
    return anchors;
  });
}

function readAll(path: string): Uint8Array {
  try {
    if (statSync(path).size > maxBytes) throw new ApiError(`${path} is larger than ${maxBytes / 1024 / 1024} MiB; it holds no certificates`);
    return readFileSync(path);
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    throw new ApiError(`cannot read ${path} (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
}

function render(heading: string, things: readonly Description[], verdicts: readonly Verdict[], { env, hasColour }: CliIo): string {
  const [signs, paint] = [signsOf(env), painter(hasColour)];
  const described = things.map(({ title, rows }, index) => [`${index + 1}. ${title}`, ...rows.map(([label, value]) => rowOf(label, inert(value)))].join("\n"));
  const judged = verdicts.map(({ status, text, advice }) => {
    const [first = "", ...more] = wrap(inert(text), indent(signs[status].length + 1)).split("\n");
    const lines = [`${paint(status, signs[status])}${first.slice(signs[status].length)}`, ...more];
    return [...lines, ...(advice === undefined ? [] : [wrap(advice, "    ")])].join("\n");
  });
  return `${[heading, ...described, ...(judged.length > 0 ? [judged.join("\n")] : [])].join("\n\n")}\n`;
}

function rowOf(label: string, value: string): string {
  return ` ${label.padEnd(labelColumns)}${wrap(value, indent(labelColumns + 1)).slice(labelColumns + 1)}`;
}

const indent = (columns: number): string => " ".repeat(columns);

const options = {
  ...apiOptions, bundle: { type: "string", multiple: true }, "trust-domain": { type: "string" }, servername: { type: "string" },
} as const;

const exposedKey: Verdict = { status: "warning", text: "others on this machine can read the file with the private key", advice: "chmod 600 it, and consider whether the key has to be replaced" };
/** The longest label and a space; with them a SHA-256 ends in column 79. */
const labelColumns = 14;
const maxBytes = 4 * 1024 * 1024;

const usage = `countersign certificate inspect: what it is, and why it would be refused

  countersign certificate inspect cart.pem      a certificate, chain, CSR, CRL,
      key, SPIFFE bundle or join string, in PEM or DER; - is standard input
  countersign certificate inspect world:4143    what a server shows
      --servername NAME: whom to ask for, where that is not the host

  --bundle FILE        whom you trust, as countersign bundle show prints it;
                       may be repeated; default DATA-DIR/root.pem, if there: our
                       CA is then asked whether it has revoked it (--url,
                       --token-file and so on, as with other commands)
  --trust-domain NAME  whose roots those are that do not say it themselves
  --data-dir DIR       default ./.countersign (COUNTERSIGN_DATA_DIR)
  -o json              for scripts

Exit code 0, or 1 when the CA or a proxy would refuse it. No secret is shown.
`;
