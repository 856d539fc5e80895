import { hash } from "node:crypto";
import { encodeEntry } from "../audit/event.ts";
import type { Log } from "../log.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { subjectKeyIdentifier } from "../pki/key.ts";
import { SignerError } from "../signer/errors.ts";
import { checkKmsKey, kmsSigner, type Kms } from "../signer/kms.ts";
import { pkcs11PublicKey, pkcs11Signer } from "../signer/pkcs11.ts";
import { parsePkcs11Uri } from "../signer/pkcs11-uri.ts";
import type { OutsideSigner } from "../signer/outside.ts";
import type { Sealing } from "../signer/sealing.ts";
import type { Signer } from "../signer/signer.ts";
import { softwareSigner } from "../signer/software.ts";
import type { AuthorityKey, AuthorityRow } from "../store/rows/authorities.ts";
import type { Store } from "../store/store.ts";
import { unsealAuthority } from "./active-issuer.ts";

/** The signers of the authorities, wherever their keys are. */
export interface AuthoritySigners {
  /**
   * The signer of an authority's key. Making it calls nobody, so it works while KMS is away.
   * @throws {SignerError} signer_offline, and what unsealing throws
   */
  signerFor(row: SignedRow): Signer;
  /**
   * The signer of a key outside that no authority has yet.
   * @param spki  its public part, which is pinned by this
   */
  outside(key: OutsideKey, spki: Uint8Array): Signer;
  /**
   * The key that an operator made for the next root.
   * @param rows  of which none may have it already
   * @throws {SignerError} key_unfit, and what KMS or the token says
   */
  findNext(place: OutsideKey, rows: readonly SignedRow[]): Promise<{ readonly key: OutsideKey; readonly spki: Uint8Array }>;
  /**
   * Asks whether the key of an authority in KMS still is the one of its certificate.
   * @throws {SignerError} key_changed, and what KMS says
   */
  check(row: SignedRow): Promise<void>;
  /** What an operator should know: keys that failed when they were last needed. */
  troubles(): readonly KeyTrouble[];
}

export type SignedRow = Pick<AuthorityRow, "id" | "key" | "certificate">;
export type OutsideKey = Extract<AuthorityKey, { readonly kind: "kms" | "pkcs11" }>;

export interface KeyTrouble {
  readonly authorityId: string;
  readonly location: AuthorityKey["kind"];
  readonly message: string;
}

export interface SignersDeps {
  readonly sealing: Sealing;
  readonly store: Pick<Store, "commit">;
  readonly kms: Kms;
  readonly pkcs11Pin?: string | undefined;
  readonly log: Log;
  readonly now: () => Date;
  readonly onKey?: (location: AuthorityKey["kind"], authorityId: string, ok: boolean) => void;
}

/**
 * Knows for each authority how its key is asked. Before a key outside signs, the intent is committed: such a signature exists
 * from the moment it is made, so each has an entry even if we die right after (DESIGN promise 3).
 */
export function authoritySigners({ sealing, store, kms, pkcs11Pin, log, now, onKey }: SignersDeps): AuthoritySigners {
  const troubles = new Map<string, KeyTrouble & { readonly failures: number; readonly notBeforeMs: number }>();

  async function watched<T>(authorityId: string, location: AuthorityKey["kind"], act: () => Promise<T>): Promise<T> {
    const earlier = troubles.get(authorityId);
    if (earlier !== undefined && now().getTime() < earlier.notBeforeMs) {
      const next = new Date(earlier.notBeforeMs).toISOString();
      throw new SignerError("signer_unavailable", `${earlier.message}; the next attempt waits until ${next}`);
    }
    try {
      const result = await act();
      if (troubles.delete(authorityId)) log.info({ authority: authorityId, location }, "the authority's key answers again");
      onKey?.(location, authorityId, true);
      return result;
    } catch (error) {
      if (!(error instanceof SignerError)) throw error;
      const failures = (earlier?.failures ?? 0) + 1;
      // Not at each tick: every attempt has an entry in the log, and KMS has its quotas.
      const notBeforeMs = now().getTime() + Math.min(maxPauseMs, firstPauseMs * 2 ** (failures - 1));
      troubles.set(authorityId, { authorityId, location, message: error.message, failures, notBeforeMs });
      onKey?.(location, authorityId, false);
      throw error;
    }
  }

  function outside(key: OutsideKey, spki: Uint8Array, authorityId: string): OutsideSigner {
    const signer = key.kind === "kms" ? kmsSigner(kms, key.keyId, spki) : pkcs11Signer(parsePkcs11Uri(key.uri), spki, { pin: pkcs11Pin });
    return {
      ...signer,
      sign: (message) => watched(authorityId, key.kind, async () => {
        const event = { type: "signature.intended", authorityId, key: key.kind, messageHash: hash("sha256", message, "hex") } as const;
        // If we die after this, the entry tells of a signature that was perhaps made and never used.
        await store.commit({ kind: "record", entries: [encodeEntry(event, "system", now().getTime())] });
        return signer.sign(message);
      }),
    };
  }

  async function find(place: OutsideKey): Promise<{ readonly key: OutsideKey; readonly spki: Uint8Array }> {
    if (place.kind === "pkcs11") return { key: place, spki: await pkcs11PublicKey(parsePkcs11Uri(place.uri), { pin: pkcs11Pin }) };
    // By its ARN from now on: an alias may come to name another key.
    const { arn, spki } = await kms.publicKey(place.keyId);
    return { key: { kind: "kms", keyId: arn }, spki };
  }

  return {
    signerFor(row) {
      if (row.key.kind === "sealed") return softwareSigner(unsealAuthority(row, sealing).privateKey);
      if (row.key.kind === "offline" || row.key.kind === "upstream") return absentSigner(row);
      return outside(row.key, parseCertificate(row.certificate).spki, row.id);
    },
    outside: (key, spki) => outside(key, spki, Buffer.from(subjectKeyIdentifier(spki)).toString("hex")),
    findNext: (place, rows) => watched(nextRoot, place.kind, async () => {
      const found = await find(place);
      const user = rows.find(({ certificate }) => Buffer.compare(parseCertificate(certificate).spki, found.spki) === 0);
      if (user !== undefined) throw new SignerError("key_unfit", `nextRootKey is the key of authority ${user.id}, and each has one of its own: make another key, and name that one`);
      return found;
    }),
    async check(row) {
      const { key } = row;
      if (key.kind !== "kms") return;
      await watched(row.id, key.kind, () => checkKmsKey(kms, key.keyId, parseCertificate(row.certificate).spki));
    },
    troubles: () => [...troubles.values()].map(({ authorityId, location, message }) => ({ authorityId, location, message })),
  };
}

/** Refuses to sign: the key is on a machine that nobody can reach from here, or another CA's. */
function absentSigner({ id, certificate, key }: SignedRow): Signer {
  const { keyAlgorithm, spki } = parseCertificate(certificate);
  return {
    keyAlgorithm, spki,
    sign() {
      if (key.kind === "upstream") throw new SignerError("signer_offline", `the key of authority ${id} is that of the CA above this one, which signs issuers when this one asks for them, and nothing else`);
      throw new SignerError(
        "signer_offline",
        `the key of authority ${id} is offline and signs in a ceremony only: run "countersign ceremony request" here, "countersign ` +
          'ceremony sign" on the machine that holds the key, and "countersign ceremony import" here',
      );
    },
  };
}

/** Stands for the authority that is not there yet. */
const nextRoot = "next-root";
const firstPauseMs = 5000;
const maxPauseMs = 60_000;
