import { existsSync, readFileSync } from "node:fs";
import { checkServerIdentity, type DetailedPeerCertificate, type PeerCertificate } from "node:tls";
import { AuditError } from "../audit/errors.ts";
import { parseVerifierKey } from "../audit/note.ts";
import { apiSegments } from "../issuance/names.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { decodePem } from "../pki/pem.ts";
import { readSpiffeId, verifySvid } from "../pki/svid.ts";
import { chainOf } from "./presented-chain.ts";

/** Codes of what it refuses. */
export const notTheApi = "COUNTERSIGN_NOT_THE_API";
export const otherTrustDomain = "COUNTERSIGN_OTHER_TRUST_DOMAIN";

/**
 * Makes the judge of who answers for the API. Below our root are workloads too, and one may have got the CA's DNS name: its own ID, given to
 * nobody else, is what tells it from them. There may be the CAs of other clusters as well, so the ID has to be of the trust domain that is meant:
 * the one that is named, or else the root's own.
 * @param rootsPem     what is trusted
 * @param trustDomain  undefined: nobody has said
 * @returns            for `tls.connect`, after Node has verified the chain
 */
export function apiIdentityCheck(rootsPem: string, trustDomain: string | undefined): (host: string, certificate: PeerCertificate) => Error | undefined {
  const anchors = readRoots(rootsPem);
  const meant = trustDomain === undefined ? trustDomainsOf(anchors) : [trustDomain];
  return (host, certificate) => {
    const wrongName = checkServerIdentity(host, certificate);
    if (wrongName !== undefined) return wrongName;
    try {
      const chain = chainOf(certificate as DetailedPeerCertificate);
      const id = readSpiffeId(parseCertificate(chain[0] ?? new Uint8Array()));
      if (id.path !== `/${apiSegments.join("/")}`) return refusal(notTheApi, "not the CA's certificate");
      if (meant.length > 0 && !meant.includes(id.trustDomain)) return refusal(otherTrustDomain, `it is the CA of ${id.trustDomain}, and ${meant.join(" or ")} is meant`);
      const bundle = { trustDomain: id.trustDomain, x509Authorities: anchors, jwtAuthorities: [] };
      verifySvid({ chain, bundles: new Map([[id.trustDomain, bundle]]), nowMs: Date.now(), purpose: "server" });
      return undefined;
    } catch (error) {
      if (error instanceof PkiError) return refusal(notTheApi, error.message);
      throw error;
    }
  };
}

/** The trust domain of the CA whose data folder this is, by the name of its log's key; undefined where it is not there. */
export function trustDomainOfFolder(verifierKeyPath: string): string | undefined {
  if (!existsSync(verifierKeyPath)) return undefined;
  try {
    return /^countersign\.dev\/(.+)\/log$/.exec(parseVerifierKey(readFileSync(verifierKeyPath, "utf8").trim()).name)?.[1];
  } catch (error) {
    if (error instanceof AuditError) return undefined;
    throw error;
  }
}

function readRoots(pem: string): readonly Certificate[] {
  try {
    return decodePem(pem, "CERTIFICATE", { allowText: true }).map(parseCertificate);
  } catch (error) {
    // What is no root to us vouches for nobody.
    if (error instanceof PkiError) return [];
    throw error;
  }
}

function trustDomainsOf(anchors: readonly Certificate[]): readonly string[] {
  return anchors.flatMap(({ subjectAltName }) => (subjectAltName?.uris ?? []).filter((uri) => uri.startsWith("spiffe://")).map((uri) => uri.slice("spiffe://".length)));
}

function refusal(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
