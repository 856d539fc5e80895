import type { AuthorityKeeper, KeeperDeps } from "./authority/keeper.ts";
import { listSigners } from "./authority/list-signers.ts";
import type { AuthoritySigners } from "./authority/signers.ts";
import { ocspSigners } from "./authority/ocsp-signer.ts";
import { serialNumbers } from "./issuance/serial.ts";
import { crlPublisher, type CrlPublisher } from "./revocation/crl-publisher.ts";
import { ocspResponder, type OcspResponder } from "./revocation/ocsp.ts";

/** What other software asks about revocation: by lists, and one by one. */
export interface StatusLists {
  readonly crls: CrlPublisher;
  readonly ocsp: OcspResponder;
}

export type StatusListDeps = Omit<KeeperDeps, "craft"> & { readonly keeper: AuthorityKeeper; readonly signers: AuthoritySigners };

/** Puts CRLs and OCSP together, on one set of signers. */
export function statusLists({ store, sealing, signers, keeper, config, lints, metrics, log, now }: StatusListDeps): StatusLists {
  const authorities = () => keeper.current().rows;
  const signerOf = listSigners(sealing, signers);
  const ocspSignerOf = ocspSigners({ store, signerOf, now, nextSerial: serialNumbers(), ...config });
  return {
    crls: crlPublisher({ store, authorities, signerOf, config, lints, metrics, log, now }),
    ocsp: ocspResponder({ store, authorities, signerOf: ocspSignerOf, ocspLifetimeMs: config.ocspLifetimeMs, lints, metrics, log, now }),
  };
}
