import { hash } from "node:crypto";
import { isPublished } from "../authority-tree.ts";
import type { Profile } from "../issuance/profile.ts";
import type { Bundle } from "../pki/bundle.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { encodePem } from "../pki/pem.ts";
import type { Sealing } from "../signer/sealing.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import { activateIssuer, unsealAuthority, type ActiveIssuer } from "./active-issuer.ts";
import { publishBundle, type PublishedBundle } from "./bundle.ts";
import { chainsOf } from "./chains.ts";
import { AuthorityError } from "./errors.ts";
import { openJwtSigner, type JwtSigner } from "./jwt-key.ts";
import { activeOf } from "./plan-rotation.ts";

/** What this replica knows of the authorities at one moment; swapped as a whole. */
export interface Authorities {
  readonly rows: readonly AuthorityRow[];
  readonly issuer: ActiveIssuer | undefined;
  /** Undefined until somebody wants JWT-SVIDs. */
  readonly jwtSigner: JwtSigner | undefined;
  readonly published: PublishedBundle;
  /**
   * With every root there ever was: what renewal proofs are verified by. The certificate in a proof is one we have on record, byte
   * for byte, so an anchor that was given up locks nobody out and lets nobody in.
   */
  readonly everyRoot: Bundle;
  /** PEM, by ID: what is presented behind a certificate of the authority. */
  readonly chains: ReadonlyMap<string, string>;
  /** SHA-256 of every authority's SPKI, hex: no workload may have one of these keys. */
  readonly keyFingerprints: readonly string[];
}

export interface ReadOptions {
  readonly trustDomain: string;
  readonly profile: Profile;
  readonly sealing: Sealing;
  readonly bundleRefreshHintMs: number;
}

/**
 * Makes of the rows what is needed for issuing; what did not change is taken over.
 * @throws {SignerError} when the active issuer cannot be opened
 */
export function readAuthorities(
  rows: readonly AuthorityRow[], bundleSequence: number, previous: Authorities | undefined, { trustDomain, profile, sealing, bundleRefreshHintMs }: ReadOptions,
): Authorities {
  const active = activeOf(rows, "issuer");
  let issuer = active === undefined ? undefined : previous?.issuer;
  if (active !== undefined && active.id !== issuer?.id) {
    const { certificate, privateKey } = unsealAuthority(active, sealing);
    issuer = activateIssuer(certificate, privateKey, profile, trustDomain);
  }
  const activeJwt = activeOf(rows, "jwt");
  const jwtSigner = activeJwt && (activeJwt.id === previous?.jwtSigner?.keyId ? previous.jwtSigner : openJwtSigner(activeJwt, sealing));
  if (previous !== undefined && sameRows(previous.rows, rows) && previous.published.sequence === String(bundleSequence)) {
    return { ...previous, rows, issuer, jwtSigner };
  }
  const certificates = new Map(rows.map(({ id, certificate }) => [id, parseCertificate(certificate)]));
  const rootsOf = (chosen: readonly AuthorityRow[]) => chosen.flatMap(({ id, type }) => (type === "root" ? certificates.get(id) ?? [] : []));
  const jwtKeys = rows.filter((row) => row.type === "jwt" && isPublished(row)).map(({ id: keyId }) => ({ keyId, publicKey: certificates.get(keyId)!.publicKey }));
  const chains = [...chainsOf(rows, certificates)].map(([id, chain]) => [id, chain.map(({ der }) => encodePem("CERTIFICATE", der)).join("")] as const);
  return {
    rows, issuer, jwtSigner,
    published: publishBundle(trustDomain, rootsOf(rows.filter(isPublished)), bundleSequence, jwtKeys, Math.max(1, Math.round(bundleRefreshHintMs / 1000))),
    everyRoot: { trustDomain, x509Authorities: rootsOf(rows), jwtAuthorities: [] },
    chains: new Map(chains),
    keyFingerprints: [...certificates.values()].map(({ spki }) => hash("sha256", spki, "hex")),
  };
}

/**
 * What a new proxy pins: the root below which the API's certificate is, too.
 * @returns SHA-256 of the certificate, lower-case hex
 * @throws  {AuthorityError} authority_missing
 */
export function activeRootFingerprint(authorities: readonly AuthorityRow[]): string {
  const root = activeOf(authorities, "root");
  if (root === undefined) {
    throw new AuthorityError("authority_missing", "the store holds no active root; restore it from a backup");
  }
  return parseCertificate(root.certificate).fingerprint;
}

function sameRows(one: readonly AuthorityRow[], other: readonly AuthorityRow[]): boolean {
  return one.length === other.length && one.every(({ id, state }, index) => id === other[index]?.id && state === other[index]?.state);
}
