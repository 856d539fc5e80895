import type { CaConfig } from "../config/config.ts";
import { workloadProfile } from "../issuance/profile.ts";
import { parseCertificate } from "../pki/certificate.ts";
import type { Sealing } from "../signer/sealing.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import { authorityRow, outsideRow } from "./active-issuer.ts";
import type { AuthorityDraft } from "./change.ts";
import { createRoot, signRoot } from "./create.ts";
import { crossSign } from "./cross-sign.ts";
import { issueIssuer } from "./issue-authority.ts";
import { createJwtKey } from "./jwt-key.ts";
import { jwtKeyLifetimeMs } from "./plan-jwt-keys.ts";
import type { AuthoritySigners } from "./signers.ts";

/** Makes authorities as the configuration wants them; nothing is stored. */
export interface AuthorityCraft {
  /**
   * Adds an active issuer below the parent, tried out.
   * @param rows  where the parent's own chain is found
   * @throws {AuthorityError} root_expired | root_expires_too_soon | root_names_refused | upstream_*
   */
  addIssuer(draft: AuthorityDraft, parent: AuthorityRow, rows: readonly AuthorityRow[], nowMs: number): Promise<void>;
  /**
   * A prepared root, cross-signed by the one before where that can sign and has room below it.
   * @param rows  of which none may have its key already
   * @throws {SignerError} where its key is outside: when it cannot be had or used, or is another authority's
   */
  root(after: AuthorityRow | undefined, rows: readonly AuthorityRow[], nowMs: number, activateAtMs?: number): Promise<AuthorityRow>;
  /** A key for JWT-SVIDs. */
  jwtKey(state: "active" | "prepared", nowMs: number, activateAtMs?: number): AuthorityRow;
}

/** Makes the authorities of a CA that has a root of its own. */
export function authorityCraft({ config, sealing, signers }: { readonly config: CaConfig; readonly sealing: Sealing; readonly signers: AuthoritySigners }): AuthorityCraft {
  const profile = workloadProfile(config);

  async function newRoot(rows: readonly AuthorityRow[], nowMs: number): Promise<AuthorityRow> {
    const request = { ...config, lifetimeMs: config.rootLifetimeMs, nowMs };
    if (config.nextRootKey === undefined) {
      const { certificate, privateKey } = createRoot(request);
      return authorityRow("root", certificate, privateKey, sealing, nowMs);
    }
    const { key, spki } = await signers.findNext(config.nextRootKey, rows);
    return outsideRow("root", await signRoot(request, signers.outside(key, spki)), key, nowMs);
  }

  return {
    async addIssuer(draft, parent, rows, nowMs) {
      const request = { ...config, lifetimeMs: config.issuerLifetimeMs, nowMs, profile };
      const above = rows.find(({ id }) => id === parent.parentId);
      const { issuer, privateKey } = await issueIssuer(request, {
        certificate: parseCertificate(parent.certificate),
        signer: signers.signerFor(parent),
        ...(above !== undefined && { anchor: parseCertificate(above.certificate) }),
      });
      draft.create(authorityRow("issuer", issuer.certificate, privateKey, sealing, nowMs, parent.id));
    },
    async root(after, rows, nowMs, activateAtMs) {
      const made = await newRoot(rows, nowMs);
      const certificate = parseCertificate(made.certificate);
      const cross = after === undefined || after.key.kind === "offline" ? undefined
        : await crossSign(certificate, { certificate: parseCertificate(after.certificate), signer: signers.signerFor(after) }, { ...config, nowMs });
      return {
        ...made,
        state: "prepared",
        ...(cross !== undefined && { crossCertificate: cross.der }),
        ...(activateAtMs !== undefined && { activateAtMs }),
      };
    },
    jwtKey(state, nowMs, activateAtMs) {
      const { certificate, privateKey } = createJwtKey({ ...config, lifetimeMs: jwtKeyLifetimeMs(config), nowMs });
      return { ...authorityRow("jwt", certificate, privateKey, sealing, nowMs), state, ...(activateAtMs !== undefined && { activateAtMs }) };
    },
  };
}
