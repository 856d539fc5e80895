import { startCa, type Ca } from "../ca.ts";
import { readConfig, type CaConfig } from "../config/config.ts";
import type { ConfigSources } from "../config/sources.ts";
import { caLogger } from "../runtime/log.ts";
import { openStore } from "../store/open.ts";
import { ApiError } from "./api.ts";
import { UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { kubernetesApi, type KubernetesAccess, type KubernetesApi } from "./kubernetes.ts";

export interface InitializeOptions {
  readonly settings: ConfigSources;
  /** Where what is made goes. */
  readonly kubernetes: KubernetesAccess;
  readonly namespace: string;
  /** Secret that gets the first admin's token. */
  readonly adminSecret: string;
  /** ConfigMap that gets the roots and the audit log's key. */
  readonly configMap: string;
}

/**
 * Brings the database's tables up to date and, where there is no CA in it yet, begins one: what a process does at its start, for a cluster in
 * which the CA's own processes have no right to (`initialize=off`). May be done again and again.
 * @throws {ApiError} | {UsageError}, and what `openStore`, `readConfig` and `startCa` throw
 */
export async function initializeStore({ settings, kubernetes: access, namespace, adminSecret, configMap }: InitializeOptions, io: CliIo): Promise<void> {
  const config = readConfig(settings);
  requireLasting(config);
  const kubernetes = kubernetesApi(access);
  const secret = await tokenSecret(kubernetes, namespace, adminSecret);
  const store = await openStore({ url: config.storeUrl });
  try {
    // Without timers and without a certificate for a listener: those who serve do the rest.
    const ca = await startCa({ config, store, log: caLogger(config), onDemand: true, saveAdminToken: secret.save });
    try {
      // Whoever lost the race for the first start wrote before we committed, and never after.
      if (ca.firstStart !== undefined) await secret.keep(ca.firstStart.adminToken);
      await publish(kubernetes, namespace, configMap, ca);
      io.stdout(ca.firstStart === undefined ? `The CA of the trust domain ${ca.trustDomain} goes on, with tables of this version.\n` : begun(ca, namespace, adminSecret));
    } finally {
      await ca.close();
    }
  } finally {
    await store.close();
  }
}

/** A sealing key that is made here would be gone with this pod, and every key of the CA with it. */
function requireLasting({ storeUrl, sealingKey, sealingKmsKey }: CaConfig): void {
  if (!/^postgres(?:ql)?:/.test(storeUrl)) throw new UsageError("initialize is for Postgres: a database in a file begins with the one process that uses it.");
  if (sealingKey === undefined && sealingKmsKey === undefined) {
    throw new ApiError("there is no sealing key: one made here would be gone with this pod, and every key of the CA with it; set COUNTERSIGN_SEALING_KEY for all replicas, or sealing to kms:KEY-ID");
  }
}

/** The Secret as it is before the database is looked at: of two who begin at once, the one whose token will not be good does not write last. */
async function tokenSecret(kubernetes: KubernetesApi, namespace: string, name: string) {
  const [path, about] = [`/api/v1/namespaces/${namespace}/secrets/${name}`, { name: `Secret ${namespace}/${name}` }];
  const before = await kubernetes.read<{ readonly metadata: { readonly resourceVersion: string } }>(path, about);
  const manifest = (token: string) => ({ apiVersion: "v1", kind: "Secret", metadata: { name, namespace }, type: "Opaque", data: { token: Buffer.from(token).toString("base64") } });
  return {
    /** Before the commit: if we die in between, the token is good for nothing and the next one is written over it. */
    async save(token: string): Promise<void> {
      if (await kubernetes.swap(path, manifest(token), before?.metadata.resourceVersion, about)) return;
      throw new ApiError(`Secret ${namespace}/${name} was written meanwhile, by another who begins this CA; try again`);
    },
    keep: (token: string): Promise<void> => kubernetes.apply(path, manifest(token), about),
  };
}

function publish(kubernetes: KubernetesApi, namespace: string, name: string, ca: Ca): Promise<void> {
  const data = { "root.pem": ca.bundle().pem, "audit-log.vkey": `${ca.verifierKey}\n` };
  return kubernetes.apply(`/api/v1/namespaces/${namespace}/configmaps/${name}`, { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace }, data }, { name: `ConfigMap ${namespace}/${name}` });
}

function begun({ trustDomain, firstStart }: Ca, namespace: string, adminSecret: string): string {
  return `A new CA for the trust domain ${trustDomain}, its root's fingerprint ${firstStart?.rootFingerprint}.\nThe first admin's token is in Secret ${namespace}/${adminSecret}.\n`;
}
