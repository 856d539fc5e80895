import type { DetailedPeerCertificate } from "node:tls";

/** DER, leaf first. Node.js links what the server sent by who issued it; a root is its own issuer. */
export function chainOf(leaf: DetailedPeerCertificate): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  const seen = new Set<string>();
  for (let next: DetailedPeerCertificate | undefined = leaf; next?.raw !== undefined && !seen.has(next.fingerprint256); next = next.issuerCertificate) {
    seen.add(next.fingerprint256);
    chain.push(next.raw);
    if (chain.length === maxChain) break;
  }
  return chain;
}

const maxChain = 16;
