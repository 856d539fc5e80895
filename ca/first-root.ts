import { authorityIdOf, authorityRow, outsideRow } from "./authority/active-issuer.ts";
import { authorityDraft } from "./authority/change.ts";
import { signRoot } from "./authority/create.ts";
import { AuthorityError } from "./authority/errors.ts";
import { checkRoot, readRoot } from "./authority/import-root.ts";
import { issueIssuer } from "./authority/issue-authority.ts";
import type { AuthoritySigners, OutsideKey } from "./authority/signers.ts";
import type { CaConfig } from "./config/config.ts";
import { readRootFile } from "./first-start.ts";
import { workloadProfile } from "./issuance/profile.ts";
import type { Certificate } from "./pki/certificate.ts";
import type { Kms } from "./signer/kms.ts";
import { pkcs11PublicKey } from "./signer/pkcs11.ts";
import { parsePkcs11Uri } from "./signer/pkcs11-uri.ts";
import type { Sealing } from "./signer/sealing.ts";
import type { Signer } from "./signer/signer.ts";
import { StoreError } from "./store/errors.ts";
import type { CaState } from "./store/rows/ca-state.ts";
import type { Store } from "./store/store.ts";

export interface FirstRootDeps {
  readonly config: CaConfig;
  readonly store: Store;
  readonly state: CaState;
  readonly sealing: Sealing;
  readonly signers: AuthoritySigners;
  readonly kms: Kms;
  readonly nowMs: number;
}

/**
 * Gives a store that was filled without authorities its first root, whose key is in KMS or on a token, and an issuer below it.
 * The key was made beforehand by the operator: making one is not idempotent, and a process that dies and starts again would
 * leave one behind each time (spire#5497: 16 000 of them).
 * @throws {AuthorityError} authority_missing where the key is to be offline; root_*
 * @throws {SignerError} when the key cannot be had or used
 */
export async function firstOutsideRoot(deps: FirstRootDeps): Promise<void> {
  const { config, store, state, sealing, signers, nowMs } = deps;
  const key = await findKey(deps);
  const signer = signers.outside(key.key, key.spki);
  const root = config.rootCertPath === undefined
    ? await signRoot({ ...config, lifetimeMs: config.rootLifetimeMs, nowMs }, signer)
    : importOutsideRoot(config.rootCertPath, signer, nowMs);
  const request = { ...config, lifetimeMs: config.issuerLifetimeMs, nowMs, profile: workloadProfile(config) };
  const { issuer, privateKey } = await issueIssuer(request, { certificate: root, signer });
  const draft = authorityDraft({ actor: "system", nowMs, bundleSequence: state.bundleSequence });
  draft.create(outsideRow("root", root, key.key, nowMs));
  draft.create(authorityRow("issuer", issuer.certificate, privateKey, sealing, nowMs, authorityIdOf(root)));
  try {
    // If we die before this lands, the intents are in the log and nothing was used; the next start signs once more.
    await store.commit(draft.act());
  } catch (error) {
    // Of several replicas at their first start one is first; the others take its root.
    if (!(error instanceof StoreError && error.code === "authority_superseded")) throw error;
  }
}

/** Asks where the key is, and pins its public part. */
async function findKey({ config, kms }: FirstRootDeps): Promise<{ readonly key: OutsideKey; readonly spki: Uint8Array }> {
  const { rootKey } = config;
  switch (rootKey.kind) {
    case "kms": {
      // By its ARN from now on: an alias may come to name another key.
      const { arn, spki } = await kms.publicKey(rootKey.keyId);
      return { key: { kind: "kms", keyId: arn }, spki };
    }
    case "pkcs11": {
      const uri = parsePkcs11Uri(rootKey.uri);
      if (config.rootCertPath !== undefined) return { key: rootKey, spki: readRoot(readRootFile(config.rootCertPath)).spki };
      return { key: rootKey, spki: await pkcs11PublicKey(uri, { pin: config.pkcs11Pin }) };
    }
    case "offline":
      throw new AuthorityError(
        "authority_missing",
        "the root's key is offline, and no ceremony has given this CA its root and an intermediate yet; begin with: countersign ceremony " +
          "request root",
      );
    default:
      throw new AuthorityError("authority_missing", "the store holds no root; restore it from a backup");
  }
}

function importOutsideRoot(path: string, signer: Signer, nowMs: number): Certificate {
  const root = readRoot(readRootFile(path));
  checkRoot(root, nowMs);
  if (Buffer.compare(root.spki, signer.spki) !== 0) {
    throw new AuthorityError("root_key_mismatch", "rootKey is not the key of rootCert; give the pair that belongs together");
  }
  return root;
}
