import { encodeBundle, type Bundle, type JwtAuthority } from "../pki/bundle.ts";
import type { Certificate } from "../pki/certificate.ts";
import { encodePem } from "../pki/pem.ts";

/** The own trust domain's bundle in every form it is served in, made once per change. */
export interface PublishedBundle {
  readonly bundle: Bundle;
  /** SPIFFE JWK Set, JSON. */
  readonly jwks: string;
  /** The same by trust domain, as a value to be embedded in other JSON. */
  readonly bundles: Readonly<Record<string, unknown>>;
  readonly pem: string;
  /** Decimal. */
  readonly sequence: string;
}

/** Publishes the roots and JWT keys of a trust domain. */
export function publishBundle(trustDomain: string, roots: readonly Certificate[], sequence: number, jwtAuthorities: readonly JwtAuthority[] = [], refreshHintSeconds = defaultRefreshHintSeconds): PublishedBundle {
  const bundle: Bundle = {
    trustDomain, x509Authorities: roots, jwtAuthorities, sequence: BigInt(sequence), refreshHintSeconds,
  };
  const jwks = encodeBundle(bundle);
  return {
    bundle, jwks, bundles: { [trustDomain]: JSON.parse(jwks) }, pem: roots.map(({ der }) => encodePem("CERTIFICATE", der)).join(""), sequence: String(sequence),
  };
}

/** How often a proxy asks that has no stream. */
const defaultRefreshHintSeconds = 60;
