import { parseCertificate } from "../pki/certificate.ts";
import { encodePem } from "../pki/pem.ts";
import { Refusal } from "../refusal.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { IssuerSigner } from "./foreign-issuers.ts";
import type { AuthoritySigners } from "./signers.ts";

/**
 * What signs issuers: the active intermediate, or the root where there is none.
 * @throws {Refusal} issuer_unavailable when there is neither, or the root's key is offline
 */
export function issuerSigner(rows: readonly AuthorityRow[], { signerFor }: Pick<AuthoritySigners, "signerFor">): IssuerSigner {
  const active = (type: AuthorityRow["type"]): AuthorityRow | undefined => rows.find((row) => row.type === type && row.state === "active");
  const row = active("intermediate") ?? active("root");
  if (row === undefined) throw new Refusal("issuer_unavailable", "This CA has no active root or intermediate to sign an issuer with; the operator must activate one.");
  if (row.key.kind === "upstream") {
    throw new Refusal("issuer_unavailable", "This CA runs under another one, and its issuers have no room for CAs below them: have the issuer signed by the CA above it.");
  }
  if (row.key.kind === "offline") {
    throw new Refusal("issuer_unavailable", `The key of the ${row.type} ${row.id} is offline and signs in ceremonies only; a CA that signs issuers for others needs an intermediate.`);
  }
  return {
    id: row.id, certificate: parseCertificate(row.certificate), signer: signerFor(row),
    intermediates: intermediatesAbove(rows, row.id),
  };
}

/** PEM of what stands between an authority's signature and the root: its own certificate where it is an intermediate, or nothing. */
export function intermediatesAbove(rows: readonly AuthorityRow[], authorityId: string): string {
  const row = rows.find(({ id }) => id === authorityId);
  return row?.type === "intermediate" ? encodePem("CERTIFICATE", row.certificate) : "";
}
