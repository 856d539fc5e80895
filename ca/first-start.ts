import { generateKeyPairSync, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { encodeEntry } from "./audit/event.ts";
import { checkpointSigner } from "./audit/checkpoint.ts";
import { authorityIdOf, authorityRow } from "./authority/active-issuer.ts";
import { createRoot, type NewAuthority } from "./authority/create.ts";
import { AuthorityError } from "./authority/errors.ts";
import { importRoot } from "./authority/import-root.ts";
import { authorityCreated, issueIssuer } from "./authority/issue-authority.ts";
import type { CaConfig } from "./config.ts";
import { workloadProfile } from "./issuance/profile.ts";
import { readSecretFile } from "./signer/key-file.ts";
import type { Sealing } from "./signer/sealing.ts";
import { StoreError, type CaState, type Store } from "./store/store.ts";
import { firstAdminToken } from "./tokens.ts";

/** What came of the first start. */
export interface FirstStart {
  /** The admin's API token: shown or written once, kept only as a hash. */
  readonly adminToken: string;
  readonly adminTokenId: string;
  /** SHA-256 of the root certificate, lower-case hex. */
  readonly rootFingerprint: string;
  readonly rootImported: boolean;
}

export interface FirstStartDeps {
  readonly config: CaConfig;
  readonly store: Store;
  readonly sealing: Sealing;
  readonly nowMs: number;
  /** Called before anything is committed, so that a crash in between cannot lose the only admin token. */
  readonly saveAdminToken?: (token: string) => void | Promise<void>;
}

/**
 * Fills an empty store: log key, root, issuer and admin token, in one commit.
 * @returns undefined when another replica was faster: then nothing of ours was kept
 * @throws {AuthorityError} root_*
 */
export async function firstStart({ config, store, sealing, nowMs, saveAdminToken }: FirstStartDeps): Promise<FirstStart | undefined> {
  const { trustDomain, keyAlgorithm, clockSkewMs, statusUrl } = config;
  const request = { trustDomain, keyAlgorithm, clockSkewMs, nowMs, statusUrl };
  const imported = config.rootCertPath !== undefined;
  const root = imported ? importRootFiles(config, nowMs) : createRoot({ ...request, lifetimeMs: config.rootLifetimeMs });
  const { issuer, privateKey } = await issueIssuer({ ...request, lifetimeMs: config.issuerLifetimeMs, profile: workloadProfile(config) }, root);
  const log = createLog(trustDomain, sealing);
  const admin = firstAdminToken(nowMs);
  await saveAdminToken?.(admin.token);
  const state: CaState = { trustDomain, bundleSequence: 1, logVerifierKey: log.verifierKey, sealedLogKey: log.sealedLogKey, createdAtMs: nowMs, feedEpoch: newFeedEpoch() };
  try {
    await store.unlock({ origin: logOrigin(trustDomain), privateKeyPkcs8: log.privateKeyPkcs8 });
    // If we die before this lands, the store is empty as before and the next start begins anew.
    await store.commit({
      kind: "initialize", state,
      authorities: [
        authorityRow("root", root.certificate, root.privateKey, sealing, nowMs),
        authorityRow("issuer", issuer.certificate, privateKey, sealing, nowMs),
      ],
      tokens: [admin.row],
      entries: [
        encodeEntry({ type: "ca.initialized", trustDomain, logKey: log.verifierKey }, "system", nowMs),
        authorityCreated("root", root.certificate, undefined, nowMs),
        authorityCreated("issuer", issuer.certificate, authorityIdOf(root.certificate), nowMs),
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
  return { adminToken: admin.token, adminTokenId: admin.row.id, rootFingerprint: root.certificate.fingerprint, rootImported: imported };
}

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

function importRootFiles({ rootCertPath = "", rootKeyPath = "", rootKeyPassphrase, issuerLifetimeMs }: CaConfig, nowMs: number): NewAuthority {
  const privateKeyPem = readSecretFile(rootKeyPath);
  if (privateKeyPem === undefined) throw new AuthorityError("root_key_unreadable", `there is no root key at ${rootKeyPath}`);
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
