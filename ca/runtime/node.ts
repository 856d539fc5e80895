import { getRequestListener } from "@hono/node-server";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pino, type Logger } from "pino";
import { startCa, type Ca } from "../ca.ts";
import type { CaConfig } from "../config.ts";
import { createApp } from "../http/app.ts";
import { openStore } from "../store/open.ts";
import type { ApiCredentials } from "../issuance/api-certificate.ts";

/** A CA that serves in this process. */
export interface ServedCa {
  readonly ca: Ca;
  /** Where it listens, with the port the system chose if it was asked to. */
  readonly url: string;
  readonly publicUrl: string;
  readonly files: { readonly root: string; readonly verifierKey: string; readonly adminToken: string };
  /** Lets requests under way finish within the deadline, then closes listener, CA and store; never rejects. */
  stop(): Promise<void>;
}

/**
 * Opens store, CA and HTTPS listener, in this order, and writes what an operator needs into the data folder: `root.pem`,
 * `audit-log.vkey`, and at the first start `admin-token` (0600).
 * @throws {ListenError} listen_failed, and what openStore and startCa throw; nothing is left open then
 */
export async function serveCa(config: CaConfig, log: Logger = caLogger(config)): Promise<ServedCa> {
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
  const files = {
    root: join(config.dataDir, "root.pem"),
    verifierKey: join(config.dataDir, "audit-log.vkey"),
    adminToken: join(config.dataDir, "admin-token"),
  };
  const store = await openStore({ url: config.storeUrl });
  const closers: (() => Promise<void> | void)[] = [() => store.close()];
  const closeAll = async () => {
    for (const close of closers.reverse()) {
      try {
        await close();
      } catch (error) {
        log.error({ err: error }, "closing failed");
      }
    }
  };
  try {
    // The listener opens before the CA issues anything: a port in use must not cost a first start. Until the CA is there it answers nothing.
    const server = apiServer(config);
    closers.push(() => void server.close());
    await listen(server, config);
    const { port } = server.address() as AddressInfo;
    const publicUrl = config.listenPort === 0 ? withPort(config.publicUrl, port) : config.publicUrl;
    const ca = await startCa({
      config, store, log,
      publicUrl: () => publicUrl,
      saveAdminToken: (token) => writeAtomically(files.adminToken, `${token}\n`, 0o600),
    });
    closers.push(() => ca.close());
    writeAtomically(files.root, ca.bundle().pem, 0o644);
    writeAtomically(files.verifierKey, `${ca.verifierKey}\n`, 0o644);
    present(server, ca.apiCredentials(), ca);
    ca.onApiCredentials((credentials) => present(server, credentials, ca));
    server.on("request", getRequestListener(createApp(ca, { log }).fetch));
    const host = config.listenHost.includes(":") ? `[${config.listenHost}]` : config.listenHost;
    return {
      ca, url: `https://${host}:${port}`, publicUrl, files,
      async stop() {
        await drain(server);
        await closeAll();
      },
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** The listener could not be opened. */
export class ListenError extends Error {
  override readonly name = "ListenError";
  readonly code = "listen_failed";
}

/** JSON lines on standard error; nothing secret is ever put into a field, and what looks like it is blanked all the same. */
export function caLogger({ logLevel }: Pick<CaConfig, "logLevel">): Logger {
  return pino(
    { level: logLevel, base: undefined, timestamp: pino.stdTimeFunctions.isoTime, redact: { paths: redactedFields, censor: "[redacted]" } },
    pino.destination({ dest: 2, sync: true }),
  );
}

function apiServer(config: CaConfig): Server {
  const server = createServer({
    minVersion: "TLSv1.3",
    maxHeaderSize: maxHeaderBytes,
    requestTimeout: config.requestTimeoutMs,
    headersTimeout: Math.min(config.requestTimeoutMs, headersTimeoutMs),
    keepAliveTimeout: keepAliveTimeoutMs,
    connectionsCheckingInterval: 1_000,
    handshakeTimeout: handshakeTimeoutMs,
    // Without it the first answer on a connection waits 40 ms for an acknowledgement.
    noDelay: true,
  });
  server.maxConnections = config.maxConnections;
  server.maxRequestsPerSocket = 0;
  // A peer that breaks its handshake or resets is its own problem and no event of ours.
  server.on("tlsClientError", (_, socket) => socket.destroy());
  return server;
}

/** Leaf, issuer and root: whoever pinned the root's fingerprint finds it in the handshake. */
function present(server: Server, { key, chain }: ApiCredentials, ca: Ca): void {
  server.setSecureContext({ key, cert: chain + ca.bundle().pem, minVersion: "TLSv1.3" });
}

function listen(server: Server, { listenHost, listenPort }: CaConfig): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      const why = error.code === "EADDRINUSE" ? "another process has it" : error.code === "EACCES" ? "ports below 1024 need a privilege" : String(error.code);
      reject(new ListenError(`cannot listen on ${listenHost}:${listenPort}: ${why}; choose another with --listen`, { cause: error }));
    };
    server.once("error", onError);
    server.listen(listenPort, listenHost, () => {
      server.off("error", onError);
      resolve();
    });
  });
}

/** New connections are refused, idle ones closed, busy ones get until the deadline. */
function drain(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const deadline = setTimeout(() => server.closeAllConnections(), drainTimeoutMs);
    server.close(() => {
      clearTimeout(deadline);
      resolve();
    });
    server.closeIdleConnections();
  });
}

/** Never half a file, never readable by others for a moment: written beside, then renamed. */
function writeAtomically(path: string, text: string, mode: number): void {
  const temporary = `${path}.${process.pid}.new`;
  writeFileSync(temporary, text, { mode, flush: true });
  renameSync(temporary, path);
}

function withPort(url: string, port: number): string {
  const withPortSet = new URL(url);
  withPortSet.port = String(port);
  return withPortSet.origin;
}

const redactedFields = ["token", "secret", "authorization", "bootstrap", "csr", "proof", "privateKey", "*.token", "*.secret", "*.authorization", "*.privateKey"];
const maxHeaderBytes = 16 * 1024;
const headersTimeoutMs = 5_000;
/** Longer than the usual poll of a proxy, so that it keeps its connection. */
const keepAliveTimeoutMs = 30_000;
const handshakeTimeoutMs = 10_000;
const drainTimeoutMs = 10_000;
