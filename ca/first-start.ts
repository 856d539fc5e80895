import { generateKeyPairSync, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { encodeEntry } from "./audit/event.ts";
import { checkpointSigner } from "./audit/checkpoint.ts";
import { authorityIdOf, authorityRow } from "./authority/active-issuer.ts";
import { authorityCreated } from "./authority/change.ts";
import { createRoot, type NewAuthority } from "./authority/create.ts";
import { AuthorityError } from "./authority/errors.ts";
import { importRoot } from "./authority/import-root.ts";
import { issueIssuer } from "./authority/issue-authority.ts";
import type { CaConfig } from "./config/config.ts";
import { workloadProfile } from "./issuance/profile.ts";
import { readSecretFile } from "./signer/key-file.ts";
import type { Sealing } from "./signer/sealing.ts";
import { softwareSigner } from "./signer/software.ts";
import { StoreError } from "./store/errors.ts";
import type { AuthorityRow } from "./store/rows/authorities.ts";
import type { CaState } from "./store/rows/ca-state.ts";
import type { Store } from "./store/store.ts";
import { firstAdminToken } from "./tokens.ts";

/** What came of the first start. */
export interface FirstStart {
  /** The admin's API token: shown or written once, kept only as a hash. */
  readonly adminToken: string;
  readonly adminTokenId: string;
  readonly rootImported: boolean;
}

export interface FirstStartDeps {
  readonly config: CaConfig;
  readonly store: Store;
  readonly sealing: Sealing;
  /** The sealing key, where KMS wraps it. */
  readonly wrappedSealingKey?: string;
  readonly nowMs: number;
  /** Called before anything is committed, so that a crash in between cannot lose the only admin token. */
  readonly saveAdminToken?: (token: string) => void | Promise<void>;
}

/**
 * Fills an empty store: log key, root, issuer and admin token, in one commit. A root whose key is outside comes later, since each of
 * its key's signatures is announced in the log.
 * @returns undefined when another replica was faster: then nothing of ours was kept
 * @throws {AuthorityError} root_*
 */
export async function firstStart(
  { config, store, sealing, wrappedSealingKey, nowMs, saveAdminToken }: FirstStartDeps,
): Promise<FirstStart | undefined> {
  const { trustDomain } = config;
  const authorities = await firstAuthorities(config, sealing, nowMs);
  const log = createLog(trustDomain, sealing);
  const admin = firstAdminToken(nowMs);
  await saveAdminToken?.(admin.token);
  const state: CaState = {
    trustDomain, bundleSequence: authorities.rows.length === 0 ? 0 : firstBundleSequence, logVerifierKey: log.verifierKey, sealedLogKey: log.sealedLogKey,
    createdAtMs: nowMs, feedEpoch: newFeedEpoch(), ...(wrappedSealingKey !== undefined && { wrappedSealingKey }),
  };
  try {
    await store.unlock({ origin: logOrigin(trustDomain), privateKeyPkcs8: log.privateKeyPkcs8 });
    // If we die before this lands, the store is empty as before and the next start begins anew.
    await store.commit({
      kind: "initialize", state,
      authorities: authorities.rows,
      tokens: [admin.row],
      entries: [
        encodeEntry({ type: "ca.initialized", trustDomain, logKey: log.verifierKey }, "system", nowMs),
        ...authorities.entries,
        encodeEntry(
          {
            type: "token.created", tokenId: admin.row.id, tokenType: "api", secretHash: Buffer.from(admin.row.secretHash).toString("hex"),
            name: "first-admin", role: "admin",
          },
          "system", nowMs,
        ),
      ],
    });
  } catch (error) {
    // Whichever way we heard of it (a refused commit, a checkpoint that is not ours, an answer lost on its way), what the
    // store holds now decides.
    const stored = error instanceof StoreError ? await store.state() : undefined;
    if (stored === undefined) throw error;
    if (stored.logVerifierKey !== log.verifierKey) return undefined;
  }
  return { adminToken: admin.token, adminTokenId: admin.row.id, rootImported: config.rootCertPath !== undefined };
}

/** Root and issuer, where the root's key is or comes into the store. */
async function firstAuthorities(
  config: CaConfig, sealing: Sealing, nowMs: number,
): Promise<{ readonly rows: readonly AuthorityRow[]; readonly entries: readonly string[] }> {
  const { trustDomain, keyAlgorithm, clockSkewMs, statusUrl, rootKey } = config;
  if (config.upstream !== undefined || (rootKey.kind !== "software" && rootKey.kind !== "file")) return { rows: [], entries: [] };
  const request = { trustDomain, keyAlgorithm, clockSkewMs, nowMs, statusUrl };
  const root = rootKey.kind === "file"
    ? importRootFiles(config, rootKey.path, nowMs) : createRoot({ ...request, lifetimeMs: config.rootLifetimeMs });
  const signedBy = { certificate: root.certificate, signer: softwareSigner(root.privateKey) };
  const { issuer, privateKey } = await issueIssuer({ ...request, lifetimeMs: config.issuerLifetimeMs, profile: workloadProfile(config) }, signedBy);
  const rows = [
    { ...authorityRow("root", root.certificate, root.privateKey, sealing, nowMs), publishedSequence: firstBundleSequence },
    authorityRow("issuer", issuer.certificate, privateKey, sealing, nowMs, authorityIdOf(root.certificate)),
  ];
  return { rows, entries: rows.map((row) => encodeEntry(authorityCreated(row), "system", nowMs)) };
}

const firstBundleSequence = 1;

/** Name of the log in its checkpoints, and of its key. */
export function logOrigin(trustDomain: string): string {
  return `countersign.dev/${trustDomain}/log`;
}

/** For a store whose feed nobody can have followed: an empty one, or one that was restored. */
export function newFeedEpoch(): string {
  return randomBytes(8).toString("hex");
}

/** What the log's key is sealed as. */
export const logKeyName = "log key";

function createLog(trustDomain: string, sealing: Sealing) {
  const privateKeyPkcs8 = generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" });
  const { verifierKey } = checkpointSigner({ origin: logOrigin(trustDomain), privateKeyPkcs8 });
  return { privateKeyPkcs8, verifierKey, sealedLogKey: sealing.seal(logKeyName, privateKeyPkcs8) };
}

function importRootFiles({ rootCertPath = "", rootKeyPassphrase, issuerLifetimeMs }: CaConfig, keyPath: string, nowMs: number): NewAuthority {
  const privateKeyPem = readSecretFile(keyPath);
  if (privateKeyPem === undefined) throw new AuthorityError("root_key_unreadable", `there is no root key at ${keyPath}`);
  return importRoot({ certificatePem: readRootFile(rootCertPath), privateKeyPem, passphrase: rootKeyPassphrase, nowMs, issuerLifetimeMs });
}

/** @throws {AuthorityError} root_certificate_unreadable */
export function readRootFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new AuthorityError(
      "root_certificate_unreadable",
      `cannot read the root certificate ${path} (${(cause as NodeJS.ErrnoException).code}); check the path`,
      { cause },
    );
  }
}
