import type { AuthoritySigners } from "./signers.ts";
import type { Sealing } from "../signer/sealing.ts";
import type { Signer } from "../signer/signer.ts";
import { threadedSigner } from "../signer/software.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import { unsealAuthority } from "./active-issuer.ts";

/**
 * The keys that sign CRLs and certify OCSP signers: also of issuers that were replaced, for as long as what they signed lives.
 * @returns a function to the signer of an authority; undefined where its key is offline and signs in a ceremony, or is another CA's
 */
export function listSigners(sealing: Sealing, signers: AuthoritySigners): (row: AuthorityRow) => Signer | undefined {
  const opened = new Map<string, Signer>();
  return (row) => {
    if (row.key.kind === "offline" || row.key.kind === "upstream") return undefined;
    if (row.key.kind !== "sealed") return signers.signerFor(row);
    const known = opened.get(row.id);
    if (known !== undefined) return known;
    // No more than one issuer's life of them stays: the oldest go.
    for (const id of opened.keys()) {
      if (opened.size < maxOpened) break;
      opened.delete(id);
    }
    const signer = threadedSigner(unsealAuthority(row, sealing).privateKey);
    opened.set(row.id, signer);
    return signer;
  };
}

/** Roots and issuers that sign at the same time are a handful. */
const maxOpened = 32;
