import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { authoritySigners } from "../authority/signers.ts";
import { askForCrl, askForCross, askForIntermediate, askForRoot, withdrawRequest, type AskDeps, type IntermediateKey } from "../ceremony/ask.ts";
import { CeremonyError } from "../ceremony/errors.ts";
import { inspectRequest } from "../ceremony/inspect.ts";
import { fingerprintOf, isFingerprint, readRequest, type WrittenRequest } from "../ceremony/request.ts";
import { takeAnswer } from "../ceremony/take.ts";
import { readConfig } from "../config/config.ts";
import { parseRootKey } from "../config/values.ts";
import { openCa } from "../open-ca.ts";
import { createSecretFile } from "../signer/key-file.ts";
import { openKms, type Kms } from "../signer/kms.ts";
import { pkcs11PublicKey } from "../signer/pkcs11.ts";
import { parsePkcs11Uri } from "../signer/pkcs11-uri.ts";
import { openStore } from "../store/open.ts";
import { chooseAction, noMore, readArguments, required, seconds, UsageError } from "./arguments.ts";
import { confirmImport } from "./ceremony-confirm.ts";
import { explainedCeremony, readWholeFile, refuseExisting } from "./ceremony-files.ts";
import { ceremonyUsage } from "./ceremony-usage.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { minute, table } from "./table.ts";
import { wrap } from "../settings/wrap.ts";

/**
 * `countersign ceremony`: what a key that is offline does for the CA.
 * @returns the exit code: 0 done, 1 refused and nothing was changed
 * @throws {UsageError}
 */
export async function ceremony(args: readonly string[], io: CliIo): Promise<number> {
  const [action, ...rest] = args;
  if (action === undefined || action === "--help" || action === "-h") {
    (action === undefined ? io.stderr : io.stdout)(ceremonyUsage);
    return action === undefined ? 2 : 0;
  }
  const chosen = chooseAction("ceremony", action, ["request", "sign", "import", "list", "show", "withdraw"]);
  // Loaded alone: the machine with the key has no use for a database.
  if (chosen === "sign") return (await import("./ceremony-sign.ts")).ceremonySign(rest, io);
  const { values: options, positionals } = readArguments(rest, caOptions);
  if (options.help) {
    io.stdout(ceremonyUsage);
    return 0;
  }
  return explainedCeremony(io, () => actions[chosen](options, positionals, io));
}

const actions = {
  async request(options: Options, [what, ...more]: readonly string[], io: CliIo): Promise<void> {
    noMore(more);
    const kind = chooseAction("ceremony request", what ?? "", ["root", "intermediate", "root-crl", "cross-certificate"]);
    const path = required(options.out, "--out", `${kind}.request`);
    refuseExisting(path);
    await withCa(options, io, { mayBegin: kind === "root" }, async (deps, kms) => {
      const lifetimeMs = seconds(options.lifetime ?? defaultLifetimes[kind], "--lifetime") * 1000;
      const written = await {
        root: async () => askForRoot(deps),
        intermediate: async () => askForIntermediate(deps, await findKey(options.key ?? "software", deps, kms), lifetimeMs),
        "root-crl": async () => askForCrl(deps, lifetimeMs),
        "cross-certificate": async () => askForCross(deps, readWholeFile(required(options.root, "--root", "root.answer"))),
      }[kind]();
      save(path, written.text, `the request is open all the same; write it again with: countersign ceremony show ${fingerprintOf(written)}`);
      const { shown } = await inspectRequest(written.request, deps.now().getTime());
      io.stdout(`${shown.join("\n")}\n\n`);
      explainRequest(path, written, io);
    });
  },

  async import(options: Options, [path, ...more]: readonly string[], io: CliIo): Promise<void> {
    noMore(more);
    const answer = readWholeFile(required(path, "the answer's file", "root.answer"));
    const cross = options.cross === undefined ? undefined : readWholeFile(options.cross);
    await withCa(options, io, {}, async (deps, kms) => {
      const place = options.key === undefined ? undefined : await findKey(options.key, deps, kms);
      if (place !== undefined && !("key" in place)) throw new UsageError("--key of a root that is imported is kms:KEY-ID or pkcs11:...");
      await confirmImport(deps, answer, { given: options.confirm, isKeyKnown: place !== undefined, isJson: options.output === "json" }, io);
      const { kind, authority: { id, type, state }, untilMs } = await takeAnswer(deps, answer, { cross, rootKey: place });
      const until = minute(new Date(untilMs).toISOString());
      const what = kind === "root-crl" ? `The CRL of root ${id} is published, until ${until}.` : `The ${type} ${id} is ${state}, until ${until}. ${nextAfter[type]}`;
      output(options.output, io).print({ kind, id, type, state, until: new Date(untilMs).toISOString() }, `${wrap(what)}\n`);
    });
  },

  async list(options: Options, rest: readonly string[], io: CliIo): Promise<void> {
    noMore(rest);
    await withCa(options, io, {}, async ({ store }) => {
      const rows = (await store.ceremonies({ limit: maxListed })).map(({ id, request, createdAtMs, closedAtMs }) => ({
        id, kind: readRequest(request).request.kind, fingerprint: fingerprintOf({ id }), createdAt: new Date(createdAtMs).toISOString(),
        ...(closedAtMs !== undefined && { closedAt: new Date(closedAtMs).toISOString() }),
      }));
      const lines = rows.map((row) => [row.kind, row.closedAt === undefined ? "open" : "closed", minute(row.createdAt), row.fingerprint]);
      output(options.output, io).print(rows, table(["KIND", "STATE", "ASKED", "FINGERPRINT"], lines));
    });
  },

  async show(options: Options, [id, ...more]: readonly string[], io: CliIo): Promise<void> {
    noMore(more);
    const fingerprint = required(id, "the request's fingerprint", exampleFingerprint);
    await withCa(options, io, {}, async ({ store }) => io.stdout((await requestOf(store, fingerprint)).request));
  },

  async withdraw(options: Options, [id, ...more]: readonly string[], io: CliIo): Promise<void> {
    noMore(more);
    await withCa(options, io, {}, async (deps) => {
      const row = await requestOf(deps.store, required(id, "the request's fingerprint", exampleFingerprint));
      await withdrawRequest(deps, row.id);
      io.stdout(`Withdrawn; an answer to ${fingerprintOf(row)} is refused from now on.\n`);
    });
  },
};

/** Opens the CA's store as `serve` does; a CA that serves on it at the same time may go on. */
async function withCa(
  options: Options, io: CliIo, { mayBegin = false }: { readonly mayBegin?: boolean }, run: (deps: AskDeps, kms: Kms) => Promise<void>,
): Promise<void> {
  const config = readConfig({ flags: { store: options.store, "data-dir": options["data-dir"], config: options.config }, env: io.env });
  const now = (): Date => new Date();
  const store = await openStore({ url: config.storeUrl });
  const kms = openKms({ endpoint: config.kmsEndpoint, region: config.kmsRegion });
  try {
    if ((await store.state()) === undefined && !(mayBegin && config.rootKey.kind === "offline")) {
      throw new CeremonyError(
        "state_refused",
        mayBegin
          ? "there is no CA in the store yet; to begin one whose root's key is offline, set COUNTERSIGN_ROOT_KEY=offline, here and for serve"
          : "there is no CA in the store; is --data-dir or --store right? A new one begins with: countersign ceremony request root",
      );
    }
    if ((await store.authorities()).some(({ key }) => key.kind === "upstream")) {
      throw new CeremonyError("state_refused", "this CA runs under another one, whose root it is: hold the ceremony there");
    }
    const adminToken = join(config.dataDir, "admin-token");
    const { sealing, store: opened } = await openCa({ config, store, kms, now, saveAdminToken: (token) => saveAdminToken(adminToken, token) });
    const signers = authoritySigners({ sealing, store, kms, pkcs11Pin: config.pkcs11Pin, log: silent, now });
    await run({ store: opened, sealing, signers, config, now }, kms);
  } finally {
    kms.close();
    await store.close();
  }
}

/** As `serve` does: if we die before the first commit the token is worthless, and the next first start writes its own. */
function saveAdminToken(path: string, token: string): void {
  rmSync(path, { force: true });
  createSecretFile(path, `${token}\n`);
}

async function findKey(text: string, { config }: AskDeps, kms: Kms): Promise<IntermediateKey> {
  const key = parseRootKey(text);
  switch (key?.kind) {
    case "software":
      return { kind: "sealed" };
    case "kms": {
      const { arn, spki } = await kms.publicKey(key.keyId);
      return { key: { kind: "kms", keyId: arn }, spki };
    }
    case "pkcs11":
      return { key, spki: await pkcs11PublicKey(parsePkcs11Uri(key.uri), { pin: config.pkcs11Pin }) };
    default:
      throw new UsageError("--key of an intermediate is software, kms:KEY-ID or pkcs11:...");
  }
}

async function requestOf(store: AskDeps["store"], fingerprint: string) {
  const row = (await store.ceremonies({ limit: maxListed })).find((each) => isFingerprint(fingerprint, each));
  if (row === undefined) {
    throw new CeremonyError("request_unknown", `there is no request ${fingerprint}; "countersign ceremony list" shows them`);
  }
  return row;
}

function explainRequest(path: string, written: WrittenRequest, io: CliIo): void {
  const paragraph = wrap(
    `Bring ${path} to the machine with the root's key, and the fingerprint on paper or by voice, not in the same bag:`,
  );
  const there = `countersign ceremony sign ${path} --key KEY --out ANSWER`;
  io.stdout(`${paragraph}\n\n  ${fingerprintOf(written)}\n\nThere: ${there}\nHere:  countersign ceremony import ANSWER\n`);
}

function save(path: string, text: string, advice: string): void {
  try {
    writeFileSync(path, text, { flag: "wx", mode: 0o644, flush: true });
  } catch (cause) {
    throw new CeremonyError("file_unusable", `${path} cannot be written (${(cause as NodeJS.ErrnoException).code}); ${advice}`, { cause });
  }
}

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const nextAfter: Readonly<Record<string, string>> = {
  root: 'Next, unless it has one: "countersign ceremony request intermediate"; a CA runs on its intermediate, the root stays offline.',
  intermediate: 'A CA that serves takes it over within 15 seconds; one that does not, with "countersign serve".',
};
/** A root's lifetime is a setting, a cross certificate ends with the first of the two. */
const defaultLifetimes = { root: "1d", intermediate: "365d", "root-crl": "90d", "cross-certificate": "1d" };
const exampleFingerprint = "1f2e-3d4c-5b6a-7988-9abc";
const maxListed = 100;
const caOptions = {
  store: { type: "string" }, "data-dir": { type: "string" }, config: { type: "string" }, out: { type: "string" }, key: { type: "string" },
  lifetime: { type: "string" }, root: { type: "string" }, cross: { type: "string" }, confirm: { type: "string" }, output: { type: "string", short: "o" },
} as const;
type Options = ReturnType<typeof readArguments<typeof caOptions>>["values"];
