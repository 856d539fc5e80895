import type { AuthorityKeeper } from "../authority/keeper.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { decodePem } from "../pki/pem.ts";
import { Refusal } from "../refusal.ts";

/** What certificates issued now are presented with, and what they are verified by. */
export interface Signing {
  /** The issuer first, without the root. */
  readonly chain: readonly Certificate[];
  readonly anchors: readonly Certificate[];
}

/**
 * Looks at what signs now. An issuer that has ended is replaced first; where that cannot be done, it is told of as it is.
 * @returns of a look undefined: there is no issuer
 */
export function signingReader(keeper: Pick<AuthorityKeeper, "current" | "issuerUntil">, now: () => Date): () => Promise<Signing | undefined> {
  return async () => {
    try {
      await keeper.issuerUntil(now().getTime());
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
    const { issuer, chains, published } = keeper.current();
    if (issuer === undefined) return undefined;
    return { chain: decodePem(chains.get(issuer.id) ?? "", "CERTIFICATE").map(parseCertificate), anchors: published.bundle.x509Authorities };
  };
}
