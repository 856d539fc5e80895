import { accessSync, constants, existsSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, resolve } from "node:path";
import { lookAtAcme } from "../acme/look.ts";
import { openAttestors, type AttestorDeps } from "../attestation/attestors.ts";
import { httpsFetcher } from "../attestation/fetch.ts";
import type { BeforeInstallFacts } from "../check/before-install.ts";
import type { ConfigSources } from "../config/sources.ts";
import { readConfig, type CaConfig } from "../config/config.ts";
import { hostToListenOn } from "../config/values.ts";
import { RuntimeError } from "../runtime/errors.ts";
import { readWebCertificate } from "../runtime/web-certificate.ts";
import { ConfigError } from "../settings/errors.ts";
import { SignerError } from "../signer/errors.ts";
import { readSecretFile } from "../signer/key-file.ts";
import { openStore } from "../store/open.ts";
import { StoreError } from "../store/errors.ts";

/** Looks at what a CA with these settings would find here. Changes nothing. */
export async function gatherBeforeInstall(sources: ConfigSources): Promise<BeforeInstallFacts> {
  const nodeVersion = process.versions.node;
  let config: CaConfig;
  try {
    config = readConfig(sources);
  } catch (error) {
    if (error instanceof ConfigError) return { nodeVersion, config: { trouble: error.message } };
    throw error;
  }
  const { trouble: store, isUsed = false, clockOffsetMs } = await lookAtStore(config);
  return {
    nodeVersion,
    config: { folder: lookAtFolder(config.dataDir), listen: await lookAtAddress(config), store, sealing: lookAtSealing(config, isUsed), ...(await lookAtServices(config)), web: lookAtWeb(config), clockOffsetMs },
  };
}

/** @returns what is wrong with the folder, or with the one it would be made in */
function lookAtFolder(path: string): string | undefined {
  let folder = resolve(path);
  while (!existsSync(folder) && folder !== dirname(folder)) folder = dirname(folder);
  const stats = statSync(folder);
  if (!stats.isDirectory()) return `${folder} is no folder`;
  if (folder === resolve(path) && (stats.mode & worldWritable) !== 0) return `everybody may write to ${folder}`;
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return `${folder} cannot be written (${(error as NodeJS.ErrnoException).code})`;
  }
}

function lookAtAddress({ listenHost, listenPort }: CaConfig): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", ({ code }: NodeJS.ErrnoException) => resolve(`${listenHost} port ${listenPort}: ${listenTroubles[code ?? ""] ?? "it cannot be listened on"} (${code})`));
    server.listen(listenPort, hostToListenOn(listenHost), () => server.close(() => resolve(undefined)));
  });
}

async function lookAtStore({ storeUrl }: CaConfig): Promise<{ readonly trouble: string | undefined; readonly isUsed?: boolean; readonly clockOffsetMs?: number }> {
  if (storeUrl.startsWith("sqlite:") && !existsSync(storeUrl.slice("sqlite:".length))) return { trouble: undefined };
  try {
    const store = await openStore({ url: storeUrl, readOnly: true });
    try {
      // Without tables there is nothing to read yet: it answered, and the CA makes them.
      const state = await store.state().catch(() => undefined);
      const databaseMs = store.databaseTimeMs();
      return { trouble: undefined, isUsed: state !== undefined, ...(databaseMs !== undefined && { clockOffsetMs: databaseMs - Date.now() }) };
    } finally {
      await store.close();
    }
  } catch (error) {
    if (error instanceof StoreError) return { trouble: error.message };
    throw error;
  }
}

/** Those whom the CA asks when it runs. */
async function lookAtServices({ attestors, acme, trustDomain }: CaConfig): Promise<{ readonly attestors: readonly string[] | undefined; readonly acme: readonly string[] | undefined }> {
  const fetcher = httpsFetcher({ keepAlive: false });
  const found = attestors.length === 0 ? undefined : await lookAtAttestors(attestors, { fetch: fetcher.fetch, trustDomain });
  fetcher.close();
  const { resolver, accounts } = acme === undefined ? {} : await lookAtAcme(acme);
  return { attestors: found, acme: acme && [resolver, accounts].filter((one) => one !== undefined) };
}

async function lookAtAttestors(attestors: CaConfig["attestors"], { fetch, trustDomain }: Pick<AttestorDeps, "fetch" | "trustDomain">): Promise<readonly string[]> {
  try {
    // Nothing is attested: what would be written down is not.
    const looks = await openAttestors(attestors, { fetch, trustDomain, now: () => new Date(), store: { spendRequest: async () => false }, onAttested: () => undefined }).look();
    return looks.flatMap(({ name, trouble, notAfter }) => (
      trouble !== undefined ? [`${name}: ${trouble.replace(/\.$/, "")}`] : notAfter !== undefined && Date.parse(notAfter) < Date.now() ? [`${name}: its anchors ended at ${notAfter}`] : []
    ));
  } catch (error) {
    if (error instanceof ConfigError) return [error.message];
    throw error;
  }
}

function lookAtWeb({ webCertificate, apiDnsNames }: CaConfig): readonly string[] | undefined {
  if (webCertificate === undefined) return undefined;
  try {
    const { leaf } = readWebCertificate(webCertificate, apiDnsNames);
    return leaf.validToDate.getTime() > Date.now() ? [] : [`${webCertificate.certPath} ended at ${leaf.validToDate.toISOString()}`];
  } catch (error) {
    if (error instanceof RuntimeError) return [error.message];
    throw error;
  }
}

function lookAtSealing({ sealingKey, sealingKeyPath, sealingKmsKey }: CaConfig, isUsed: boolean): string | undefined {
  if (sealingKey !== undefined || sealingKmsKey !== undefined) return undefined;
  try {
    if (readSecretFile(sealingKeyPath) === undefined && isUsed) return `the database is a CA's already, and ${sealingKeyPath} is not there`;
    return undefined;
  } catch (error) {
    if (error instanceof SignerError) return error.message;
    throw error;
  }
}

const listenTroubles: Readonly<Record<string, string>> = {
  EADDRINUSE: "something listens there already", EACCES: "this user may not listen there", EADDRNOTAVAIL: "this machine does not have that address",
};
const worldWritable = 0o002;
