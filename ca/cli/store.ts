import { parseNote } from "../audit/note.ts";
import { AuthorityError } from "../authority/errors.ts";
import { readConfig } from "../config/config.ts";
import { ConfigError } from "../settings/errors.ts";
import { SignerError } from "../signer/errors.ts";
import { openTableSource, openTableTarget } from "../store/open-tables.ts";
import { StoreError } from "../store/errors.ts";
import { copyTables, everyPage } from "../store/table-copy.ts";
import { chooseAction, noMore, readArguments, required, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { kubernetesAccess, kubernetesOptions, podNamespace } from "./kubernetes.ts";
import { withProgress } from "./progress.ts";
import { resealStore } from "./store-reseal.ts";
import { wrap } from "../settings/wrap.ts";

/**
 * `countersign store migrate`: moves a CA to another database; `reseal`: its private keys under another sealing key; `initialize`: tables and a
 * first start, for replicas that may do neither.
 * @returns the exit code: 0 done and verified, 1 it could not be, and all is as it was
 * @throws {UsageError}
 */
export async function store(args: readonly string[], io: CliIo): Promise<number> {
  const { values: options, positionals: [action, ...more] } = readArguments(args, storeOptions);
  if (options.help || action === undefined) {
    (options.help ? io.stdout : io.stderr)(usage);
    return options.help ? 0 : 2;
  }
  const chosen = chooseAction("store", action, ["migrate", "reseal", "initialize"]);
  noMore(more);
  if (chosen === "initialize") return initialize(options, io);
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
    if (!expectedErrors.some((kind) => error instanceof kind)) throw error;
    io.stderr(`${wrap(`countersign store: ${(error as Error).message}`)}\n`);
    return 1;
  }
}

async function initialize(options: Values, io: CliIo): Promise<number> {
  const { store, "data-dir": dataDir, config } = options;
  const kubernetes = kubernetesAccess(options, io.env);
  if (kubernetes === undefined) throw new UsageError("initialize is for a pod, or name an API server with --kube-url, --kube-token-file and --kube-ca-file.");
  const { "admin-secret": adminSecret, "config-map": configMap } = options;
  const namespace = required(options.namespace ?? podNamespace(), "--namespace", "countersign");
  try {
    // Loaded when it is needed: most uses of this command have no use for the whole CA.
    const { initializeStore } = await import("./store-initialize.ts");
    await initializeStore({ settings: { flags: { store, "data-dir": dataDir, config }, env: io.env }, kubernetes, namespace, adminSecret, configMap }, io);
    return 0;
  } catch (error) {
    if (!expectedErrors.some((kind) => error instanceof kind)) throw error;
    io.stderr(`${wrap(`countersign store: ${(error as Error).message}`)}\n`);
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
      const { rows, size } = await withProgress(io, (onProgress) => copyTables({ pages: everyPage(source), target, checkpoint, onProgress }));
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
  ...kubernetesOptions, namespace: { type: "string" },
  "admin-secret": { type: "string", default: "countersign-admin" }, "config-map": { type: "string", default: "countersign-root" },
} as const;
type Values = ReturnType<typeof readArguments<typeof storeOptions>>["values"];

const expectedErrors = [StoreError, ConfigError, SignerError, AuthorityError];

const next = `Start the CA with --store set to the new database and the same sealing key.
The old store is as it was: do not start a CA on it again, the two would
issue side by side from one key. Delete it when you are sure.
`;

const usage = `countersign store: where the CA keeps its state.

  countersign store migrate --to postgres://countersign@db.example/countersign

  countersign store reseal --to kms:alias/countersign | file:/path/to/key

  countersign store initialize

  migrate     Copies everything into an empty database, verifies the audit log
              there, and only then commits. Refuses while a CA uses the source,
              and a target with anything in it. Works in either direction.

  reseal      Seals every private key anew, under a new key that KMS wraps or
              that is in a file of its own, in one step. Refuses while a CA
              uses the store: COUNTERSIGN_STORE, or --store URL.

  initialize  On Kubernetes, with Postgres: makes or upgrades the tables, and
              begins the CA if there is none. The replicas, which then run
              with initialize=off, need no right to create tables. The first
              admin's token goes into a Secret, roots and audit key into a
              ConfigMap. Settings are those of "countersign serve".

  --from URL          sqlite:PATH or postgres://...
                                         (COUNTERSIGN_STORE, or <data-dir>)
  --to URL            the same; leave a password to PGPASSWORD, a command line
                      is readable by every process of the machine
  --data-dir DIR      COUNTERSIGN_DATA_DIR                    (./.countersign)
  --config FILE       COUNTERSIGN_CONFIG
  --admin-secret NAME (countersign-admin)  --config-map NAME (countersign-root)
  --namespace NS      the pod's own
  --kube-url URL, --kube-token-file FILE, --kube-ca-file FILE
                      outside a pod
`;
