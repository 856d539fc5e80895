import { parseNote } from "../audit/note.ts";
import { readConfig } from "../config.ts";
import { ConfigError } from "../settings/errors.ts";
import { SignerError } from "../signer/errors.ts";
import { openTableSource, openTableTarget } from "../store/open-tables.ts";
import { StoreError } from "../store/errors.ts";
import { copyTables, everyPage } from "../store/table-copy.ts";
import { chooseAction, noMore, readArguments, required, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { progressReport } from "./progress.ts";
import { resealStore } from "./store-reseal.ts";
import { wrap } from "./wrap.ts";

/**
 * `countersign store migrate`: moves a CA to another database; `reseal`: its private keys under another sealing key.
 * @returns the exit code: 0 done and verified, 1 it could not be, and all is as it was
 * @throws {UsageError}
 */
export async function store(args: readonly string[], io: CliIo): Promise<number> {
  const { values: options, positionals: [action, ...more] } = readArguments(args, storeOptions);
  if (options.help || action === undefined) {
    (options.help ? io.stdout : io.stderr)(usage);
    return options.help ? 0 : 2;
  }
  const chosen = chooseAction("store", action, ["migrate", "reseal"]);
  noMore(more);
  const to = required(options.to, "--to", chosen === "migrate" ? "postgres://countersign@db.example/countersign" : "kms:alias/countersign");
  try {
    if (chosen === "reseal") {
      await resealStore({ to, store: options.store, "data-dir": options["data-dir"], config: options.config }, io);
      return 0;
    }
    const from = options.from ?? readConfig({ flags: { "data-dir": options["data-dir"], config: options.config }, env: io.env }).storeUrl;
    if (from === to) throw new UsageError("--from and --to name the same store.");
    await migrate(from, to, io);
    return 0;
  } catch (error) {
    if (!(error instanceof StoreError || error instanceof ConfigError || error instanceof SignerError)) throw error;
    io.stderr(`${wrap(`countersign store: ${error.message}`)}\n`);
    return 1;
  }
}

async function migrate(from: string, to: string, io: CliIo): Promise<void> {
  const source = await openTableSource(from, { exclusive: true });
  try {
    const checkpoint = (await source.reads.checkpoint())?.note;
    if (checkpoint === undefined) throw new StoreError("store_unavailable", "There is no CA in the store to move. Is --from the right one?");
    const target = await openTableTarget(to);
    try {
      const { rows, size } = await copyTables({ pages: everyPage(source), target, checkpoint, onProgress: progressReport(io) });
      const root = parseNote(checkpoint).text.split("\n")[2];
      io.stdout(`Moved ${rows} rows. The audit log verifies in the new store and is the same:\n${size} entries, root ${root}\n\n${next}`);
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

const storeOptions = {
  from: { type: "string" }, to: { type: "string" }, store: { type: "string" }, "data-dir": { type: "string" }, config: { type: "string" },
} as const;

const next = `Start the CA with --store set to the new database and the same sealing key.
The old store is as it was: do not start a CA on it again, the two would
issue side by side from one key. Delete it when you are sure.
`;

const usage = `countersign store: where the CA keeps its state.

  countersign store migrate --to postgres://countersign@db.example/countersign

  countersign store reseal --to kms:alias/countersign | file:/path/to/key

  migrate     Copies everything into an empty database, verifies the audit log
              there, and only then commits. Refuses while a CA uses the source,
              and a target with anything in it. Works in either direction.

  reseal      Seals every private key anew, under a new key that KMS wraps or
              that is in a file of its own, in one step. Refuses while a CA
              uses the store: COUNTERSIGN_STORE, or --store URL.

  --from URL          sqlite:PATH or postgres://...
                                         (COUNTERSIGN_STORE, or <data-dir>)
  --to URL            the same; leave a password to PGPASSWORD, a command line
                      is readable by every process of the machine
  --data-dir DIR      COUNTERSIGN_DATA_DIR                    (./.countersign)
  --config FILE       COUNTERSIGN_CONFIG
`;
