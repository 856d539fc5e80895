import { encodePem } from "../pki/pem.ts";
import { Refusal } from "../refusal.ts";
import type { Sealing } from "../signer/sealing.ts";
import { softwareSigner } from "../signer/software.ts";
import type { AuthorityRow } from "../store/store.ts";
import { unsealAuthority } from "./active-issuer.ts";
import type { IssuerSigner } from "./foreign-issuers.ts";

/**
 * Opens the key that signs issuers: that of the active intermediate, or of the root where there is none.
 * @throws {Refusal} issuer_unavailable when there is neither, or its key is not here
 */
export function issuerSigner(rows: readonly AuthorityRow[], sealing: Sealing): IssuerSigner {
  const active = (type: AuthorityRow["type"]): AuthorityRow | undefined => rows.find((row) => row.type === type && row.state === "active");
  const row = active("intermediate") ?? active("root");
  if (row === undefined) throw new Refusal("issuer_unavailable", "This CA has no active root or intermediate to sign an issuer with; the operator must activate one.");
  if (row.key.kind !== "sealed") {
    throw new Refusal("issuer_unavailable", `The key of the ${row.type} ${row.id} is not in the store (${row.key.kind}), and signs no issuers for others from here.`);
  }
  const { certificate, privateKey } = unsealAuthority(row, sealing);
  return { id: row.id, certificate, signer: softwareSigner(privateKey), intermediates: row.type === "intermediate" ? encodePem("CERTIFICATE", row.certificate) : "" };
}
