import { accessSync, constants, rmSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Logger } from "pino";
import { startCa, type Ca } from "../ca.ts";
import type { CaConfig } from "../config/config.ts";
import { defaultPublicUrl } from "../config/values.ts";
import { createApp, createStatusApp } from "../http/app.ts";
import { apiParts } from "../http/parts.ts";
import { caMetrics } from "../metrics.ts";
import { openKms, type Kms } from "../signer/kms.ts";
import { makeFolder } from "../settings/folder.ts";
import { closeFolder } from "../store/file-access.ts";
import { openStore } from "../store/open.ts";
import { RuntimeError } from "./errors.ts";
import { openWhenInitialized } from "./initialize-wait.ts";
import { openGrpcListener } from "./grpc-listener.ts";
import { openListener, openPlainListener } from "./listener.ts";
import { caLogger } from "./log.ts";
import { startWhenUnsealed } from "./sealing-wait.ts";
import { openWebCertificate } from "./web-certificate.ts";
import { checkpointWitness, checkWitnesses, recordRollbacks } from "./witness.ts";
import { writeAtomically } from "./write-file.ts";

/** A CA that serves in this process. */
export interface ServedCa {
  readonly ca: Ca;
  /** Where it listens, with the port the system chose if it was asked to. */
  readonly url: string;
  readonly publicUrl: string;
  /** Where CRLs and OCSP are had over plain HTTP; undefined without such a listener. */
  readonly statusUrl: string | undefined;
  /** Port of Linkerd's identity protocol. */
  readonly linkerdPort: number | undefined;
  readonly files: CaFiles;
  /** Lets requests under way finish within the deadline, then closes listener, CA and store; never rejects. */
  stop(): Promise<void>;
}

/** What is written into the data folder for whoever operates the CA. */
export interface CaFiles {
  /** Trust anchors, PEM: for `curl --cacert`. */
  readonly root: string;
  readonly verifierKey: string;
  /** Of this CA as a witness: for those whose logs it cosigns. */
  readonly witnessKey: string;
  /** 0600, at the first start only. */
  readonly adminToken: string;
}

/**
 * Opens store, listener and CA, in this order, and writes `root.pem`, `audit-log.vkey` and, at the first start,
 * `admin-token`. What it throws leaves nothing open.
 * @param stopping  resolves when the process is asked to end: only a start that waits for KMS looks at it
 * @throws {RuntimeError} listen_failed | data_folder_unusable | web_certificate_unusable | log_behind_witness, and what openStore and startCa throw
 */
export async function serveCa(
  config: CaConfig, log: Logger = caLogger(config), now?: () => Date, stopping: Promise<unknown> = new Promise(() => {}),
): Promise<ServedCa> {
  prepareFolder(config.dataDir);
  const files: CaFiles = {
    root: join(config.dataDir, "root.pem"),
    verifierKey: join(config.dataDir, "audit-log.vkey"),
    witnessKey: join(config.dataDir, "witness.vkey"),
    adminToken: join(config.dataDir, "admin-token"),
  };
  const closers: (() => Promise<void>)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of closers.reverse()) await close().catch((err: unknown) => log.error({ err }, "closing failed"));
  };
  try {
    const metrics = caMetrics();
    const open = { url: config.storeUrl, onLocked: metrics.storeLocked };
    const store = await (config.initializes ? openStore(open) : openWhenInitialized(open, { log, stopping }));
    closers.push(() => store.close());
    const accepted = await checkWitnesses(store, config);
    // Before the CA: a port in use must not cost a first start.
    const listener = await openListener(config.listenHost, config.listenPort, config);
    let deadlineMs = 0;
    closers.push(() => listener.drain(deadlineMs));
    const web = config.webCertificate && openWebCertificate(config.webCertificate, { ownNames: config.apiDnsNames, log, onRead: metrics.webCertificate });
    if (web !== undefined) {
      closers.push(async () => web.close());
      listener.presentFor(web.contextOf);
    }
    const status = config.statusListen && (await openPlainListener(config.statusListen.host, config.statusListen.port, config));
    if (status !== undefined) closers.push(() => status.drain(deadlineMs));
    const linkerd = config.linkerd && (await openGrpcListener(config.linkerd.listen.host, config.linkerd.listen.port, "--linkerd-listen", config));
    if (linkerd !== undefined) closers.push(() => linkerd.drain(deadlineMs));
    const listenUrl = status && withPort(defaultPublicUrl(config.statusListen!, "http"), status.port);
    const statusUrl = config.statusListen?.port === 0 && config.statusUrl === defaultPublicUrl(config.statusListen, "http") ? listenUrl : config.statusUrl;
    const publicUrl = config.listenPort === 0 ? withPort(config.publicUrl, listener.port) : config.publicUrl;
    const start = (kms: Kms, saveAdminToken: (token: string) => void) =>
      startCa({ config: { ...config, statusUrl }, store, kms, log, metrics, publicUrl: () => publicUrl, address: () => `${hostname()}:${listener.port}`, saveAdminToken, stopping, ...(web && { webCertificate: web.vitals }), ...(now && { now }) });
    const openKeys = () => openKms({ endpoint: config.kmsEndpoint, region: config.kmsRegion, onCall: metrics.kmsCall });
    const ca = await startOn(files, (saveAdminToken) => startWhenUnsealed((kms) => start(kms, saveAdminToken), { openKms: openKeys, listener, log, stopping }));
    // Requests under way need the CA: it closes after the listener, so it is put before it.
    closers.splice(1, 0, () => ca.close());
    await recordRollbacks(store, accepted, (now?.() ?? new Date()).getTime());
    const witness = checkpointWitness(store, config.witnessPath, log, metrics.witnessed);
    closers.splice(1, 0, () => witness.close());
    witness.start();
    const present = () => {
      const { key, chain } = ca.apiCredentials();
      // Leaf, issuer, root: who has pinned the root's fingerprint finds the root in the handshake.
      listener.present({ key, chain: chain + ca.bundle().pem });
      linkerd?.present({ key, chain });
    };
    present();
    ca.onApiCredentials(present);
    ca.onBundle(() => {
      present();
      publishRoots(files, ca, log);
    });
    const { registry, denied } = ca.metrics;
    const options = { log, registry, denied, bodyLimitBytes: config.bodyLimitBytes, forwarders: config.forwarders };
    const parts = apiParts(ca, registry);
    // This process stays: whoever asks it first waits no longer than others.
    await Promise.all(parts.map(({ operations }) => operations()));
    listener.serve(createApp(ca, { ...options, parts }).fetch);
    status?.serve(createStatusApp(ca, options).fetch);
    if (ca.linkerd !== undefined) linkerd?.serve(ca.linkerd);
    const host = config.listenHost.includes(":") ? `[${config.listenHost}]` : config.listenHost;
    log.info({ listen: `${host}:${listener.port}`, trustDomain: ca.trustDomain, store: store.kind }, "serving");
    return {
      ca,
      publicUrl,
      statusUrl: listenUrl,
      linkerdPort: linkerd?.port,
      files,
      url: defaultPublicUrl({ host: config.listenHost, port: listener.port }),
      async stop() {
        log.info({}, "stopping: no new connections, requests under way may finish");
        deadlineMs = drainTimeoutMs;
        ca.endWatches();
        await closeAll();
        log.info({}, "stopped");
      },
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

function prepareFolder(path: string): void {
  try {
    makeFolder(path, 0o700);
    accessSync(path, constants.W_OK | constants.X_OK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new RuntimeError(
      "data_folder_unusable",
      `cannot write to the data folder ${path} (${code === "EEXIST" ? "a file is there" : code}); check its owner, or choose another with --data-dir`,
      { cause },
    );
  }
  const exposed = closeFolder(path);
  if (exposed !== undefined) throw new RuntimeError("data_folder_unusable", exposed);
}

/**
 * Starts the CA and leaves the operator's files as they should be, also when another replica was faster at the first
 * start.
 */
async function startOn(files: CaFiles, start: (saveAdminToken: (token: string) => void) => Promise<Ca>): Promise<Ca> {
  let saved = false;
  const ca = await start((token) => {
    // If we die before the first start lands, the token is worthless and the next first start writes its own over it.
    writeAtomically(files.adminToken, `${token}\n`, 0o600);
    saved = true;
  });
  if (saved && ca.firstStart === undefined) rmSync(files.adminToken);
  writeAtomically(files.root, ca.bundle().pem, 0o644);
  writeAtomically(files.verifierKey, `${ca.verifierKey}\n`, 0o644);
  writeAtomically(files.witnessKey, `${ca.witnessKey}\n`, 0o644);
  return ca;
}

/** What is read anew by whoever starts from now on; the CA goes on where the disk refuses. */
function publishRoots(files: CaFiles, ca: Ca, log: Logger): void {
  try {
    writeAtomically(files.root, ca.bundle().pem, 0o644);
  } catch (err) {
    log.error({ err, path: files.root }, "the roots were not written; the file keeps those of before");
  }
}

function withPort(url: string, port: number): string {
  const changed = new URL(url);
  changed.port = String(port);
  return changed.origin;
}

const drainTimeoutMs = 10_000;
