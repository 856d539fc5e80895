import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { AuditError } from "../audit/errors.ts";
import { parseNote, parseVerifierKey } from "../audit/note.ts";
import { verifyLog, type WitnessedCheckpoint } from "../audit/verify.ts";
import { readConfig } from "../config/config.ts";
import { paths } from "../contract/paths.ts";
import { askEndpoint } from "../federation/endpoint.ts";
import { cosignedIn } from "../federation/hub-log.ts";
import { FederationError } from "../federation/errors.ts";
import { ConfigError } from "../settings/errors.ts";
import { openStore } from "../store/open.ts";
import { StoreError } from "../store/errors.ts";
import type { Store } from "../store/store.ts";
import { readArguments, UsageError } from "./arguments.ts";
import { reportAsJson, reportAsText, type KeyUsed } from "./audit-report.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { whileWaiting, withProgress } from "./progress.ts";
import { wrap } from "../settings/wrap.ts";

/**
 * `countersign audit verify` and `countersign audit checkpoint`.
 * @returns the exit code: 0 the log fits, 1 it does not, 2 there is nothing that can be read
 * @throws {UsageError}
 */
export async function audit(args: readonly string[], io: CliIo): Promise<number> {
  const { values: options, positionals: [action, ...more] } = readArguments(args, auditOptions);
  if (options.help || action === undefined) {
    (options.help ? io.stdout : io.stderr)(usage);
    return options.help ? 0 : 2;
  }
  if (action !== "verify" && action !== "checkpoint") throw new UsageError(`there is no "audit ${action}"; there are ` +
    "verify and checkpoint.");
  if (more.length > 0) throw new UsageError(`"${more[0]}" is one argument too many; a checkpoint to compare with is ` +
    "given as --checkpoint FILE.");
  const json = output(options.output, io).json || options.json === true;
  if (json && action === "checkpoint") throw new UsageError("a checkpoint is a signed note, and printed as it is; JSON is for verify.");
  try {
    const { store: url, "data-dir": folder, config } = options;
    const { storeUrl, dataDir } = readConfig({ flags: { store: url, "data-dir": folder, config }, env: io.env });
    const store = await openStore({ url: storeUrl, readOnly: true });
    try {
      return action === "verify" ? await verify(store, dataDir, { ...options, json }, io) : await printCheckpoint(store, io);
    } finally {
      await store.close();
    }
  } catch (error) {
    const expected = [UnreadableError, ConfigError, StoreError, AuditError].find((kind) => error instanceof kind);
    if (expected === undefined || !(error instanceof Error)) throw error;
    io.stderr(`${wrap(`countersign audit: ${error.message}`)}\n`);
    return 2;
  }
}

async function verify(store: Store, dataDir: string, options: Options, io: CliIo): Promise<number> {
  const key = findKey(dataDir, options.key);
  const checkpoints = (options.checkpoint ?? []).map(readNote);
  const witnessed = await Promise.all((options.witness ?? []).map((each) => whileWaiting(io, "the witness", readWitness(each, key.verifierKey))));
  const verdict = await withProgress(io, (report) => verifyLog({
    store, checkpoints, witnessed, ...(key.verifierKey !== undefined && { verifierKey: key.verifierKey }),
    onProgress: ({ stage, entries, total }) => report({ stage: stage === "log" ? "entries and seals" : "entries and tables", done: entries, total }),
  }));
  if (verdict.ok && verdict.size === 0) throw new UnreadableError("This store holds no CA and so no log. Is --store or " +
    "--data-dir the right one?");
  const verifierKey = key.verifierKey ?? (await store.state())?.logVerifierKey;
  io.stdout((options.json ? reportAsJson : reportAsText)(verdict, { ...key, verifierKey }));
  return verdict.ok ? 0 : 1;
}

async function printCheckpoint(store: Store, io: CliIo): Promise<number> {
  const newest = await store.checkpoint();
  if (newest === undefined) throw new UnreadableError("This store has no checkpoint: no CA has started on it yet. Is " +
    "--store or --data-dir the right one?");
  io.stdout(newest.note);
  return 0;
}

/** @throws {UnreadableError} that names the file, of which there may be many */
function readNote(path: string): string {
  const note = readText(path);
  try {
    parseNote(note);
    return note;
  } catch (cause) {
    if (cause instanceof AuditError) throw new UnreadableError(`${path} is no checkpoint: ${cause.message}.`, { cause });
    throw cause;
  }
}

/** The key to expect: from the command line, from the file that the first start left, or whatever the store says. */
function findKey(dataDir: string, given: string | undefined): KeyUsed {
  if (given !== undefined) return { source: { kind: "option" }, verifierKey: given };
  const path = join(dataDir, keyFileName);
  if (!existsSync(path)) return { source: { kind: "store", path }, verifierKey: undefined };
  return { source: { kind: "file", path }, verifierKey: readText(path).trim() };
}

/** VKEY@SOURCE: what a witness cosigned, from a file or from its API. */
async function readWitness(text: string, logKey: string | undefined): Promise<WitnessedCheckpoint> {
  const [, witnessKey, source] = /^([^@]+)@(.+)$/.exec(text) ?? [];
  if (witnessKey === undefined || source === undefined) throw new UsageError("--witness takes the witness's key, an @, and a file, the URL of its API, or of what it has in a hub.");
  if (!/^https:/.test(source)) return { witnessKey, note: ofHub(readText(source), logKey) };
  if (logKey === undefined) throw new UnreadableError("Which log the witness is to be asked for follows from its key: give --key.");
  const isInHub = source.endsWith(".log.note");
  const url = new URL(isInHub ? source : new URL(paths.witnessCheckpoint, source));
  if (!isInHub) url.searchParams.set("origin", parseVerifierKey(logKey).name);
  try {
    // Whoever answers: its signature decides.
    const { status, text: note } = await askEndpoint({ method: "GET", url, proof: { profile: "stranger" } });
    if (status !== 200) throw new UnreadableError(`The witness at ${url.host} has cosigned nothing of this log (status ${status}).`);
    return { witnessKey, note: ofHub(note, logKey) };
  } catch (cause) {
    if (cause instanceof FederationError) throw new UnreadableError(`The witness cannot be asked: ${cause.message}.`, { cause });
    throw cause;
  }
}

/** What a witness has in a hub holds what it cosigned of many logs. */
function ofHub(text: string, logKey: string | undefined): string {
  const [, trustDomain = ""] = logKey === undefined ? [] : /^countersign\.dev\/([^/]+)\/log$/.exec(parseVerifierKey(logKey).name) ?? [];
  return cosignedIn(text, trustDomain) ?? text;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new UnreadableError(`${path} cannot be read: ` +
      `${(cause as NodeJS.ErrnoException).code ?? "unknown error"}.`, { cause });
  }
}

/** What was named cannot be read, or is not there. */
class UnreadableError extends Error {
  override readonly name = "UnreadableError";
}

const auditOptions = {
  store: { type: "string" }, "data-dir": { type: "string" }, config: { type: "string" }, key: { type: "string" },
  checkpoint: { type: "string", multiple: true }, witness: { type: "string", multiple: true }, output: { type: "string", short: "o" }, json: { type: "boolean" },
} as const;
type Options = ReturnType<typeof readArguments<typeof auditOptions>>["values"];

const usage = `countersign audit: can anybody have changed what this CA did?

  countersign audit verify [options]
  countersign audit checkpoint [options]

  verify      Checks every entry of the audit log, every seal over it, and that
              certificates, revocations, tokens and authorities are what the
              log says. Changes nothing; the CA may go on meanwhile.
              Exit code: 0 all fits, 1 something does not, 2 nothing to read.
  checkpoint  Prints the newest checkpoint: size and root of the log, signed.
              Keep it where nobody who can write to the database can reach it.

  --store URL         sqlite:PATH or postgres://...; a password belongs into
                      COUNTERSIGN_STORE   (sqlite:<data-dir>/countersign.db)
  --data-dir DIR      COUNTERSIGN_DATA_DIR                    (./.countersign)
  --config FILE       COUNTERSIGN_CONFIG
  --key VKEY          The log's verifier key, as printed at the first start
                      (<data-dir>/audit-log.vkey, else the store's own word)
  --checkpoint FILE   A checkpoint kept elsewhere, which the log must contain.
                      May be repeated.
  --witness VKEY@SOURCE
                      What a federated CA cosigned, which the log must contain:
                      its witness key (witness.vkey in its data folder) and a
                      file, its API's URL, or what it has in a hub
                      (https://hub.example/west.log.note). May be repeated: a
                      log shown differently to two of them does not fit one.
  -o json             Machine-readable result (or --json)

From a timer, on a machine of its own, with what is kept there:
  countersign audit verify --store postgres://reader@db.example/countersign \\
      --key "$(cat audit-log.vkey)" --checkpoint last.checkpoint
`;
/** Written at the first start, next to the database but not in it. */
const keyFileName = "audit-log.vkey";
