import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { describe, expect, test } from "vitest";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { parseSpiffeId } from "../../ca/pki/spiffe-id.ts";
import { PeerError, peerVerifier, type PeerErrorCode } from "../../proxy/peer.ts";
import { east, eastIssuer, holderOf } from "../support/data-path.ts";
import { testAuthority, testKey, type TestLeaf } from "../support/test-ca.ts";

const day = 86_400_000;
const startMs = Date.UTC(2026, 0, 1);
const hello = eastIssuer.leaf({ spiffeId: "spiffe://east/hello", notAfterMs: startMs + day });

/** A socket as far as the verifier looks: the chain in the order it was presented. */
function socketOf(chain: readonly Uint8Array[], reused = false): TLSSocket {
  const certificates = chain.map((der) => new X509Certificate(der));
  const linked = certificates.map((certificate) => ({ raw: certificate.raw, issuerCertificate: undefined as unknown }));
  linked.forEach((certificate, index) => (certificate.issuerCertificate = linked[index + 1]));
  return { isSessionReused: () => reused, getPeerX509Certificate: () => linked[0], getSession: () => undefined } as unknown as TLSSocket;
}

function setUp() {
  const clock = { nowMs: startMs };
  const holder = holderOf(undefined, [east], () => clock.nowMs);
  const verifier = peerVerifier({ source: holder, now: () => clock.nowMs });
  const verify = (leaf: Pick<TestLeaf, "chain"> = hello, expected?: string): PeerErrorCode | string => codeOf(
    () => verifier.verify(socketOf(leaf.chain), "client", expected === undefined ? undefined : parseSpiffeId(expected)).svid.id.uri,
  );
  return { clock, holder, verifier, verify };
}

function codeOf(act: () => string): string {
  try {
    return act();
  } catch (error) {
    if (error instanceof PeerError) return error.code;
    throw error;
  }
}

test("a peer is who its chain proves it to be", () => {
  expect(setUp().verify()).toBe("spiffe://east/hello");
});

test("a resumed session is refused, whatever it shows", () => {
  const { verifier } = setUp();
  for (const purpose of ["client", "server"] as const) expect(codeOf(() => verifier.verify(socketOf(hello.chain, true), purpose).svid.id.uri)).toBe("session_resumed");
});

test("without a trust bundle nobody is anybody", () => {
  const verifier = peerVerifier({ source: { identity: () => undefined, trust: () => undefined, policy: () => undefined, onChange: () => () => undefined }, now: () => startMs });
  expect(codeOf(() => verifier.verify(socketOf(hello.chain), "client").svid.id.uri)).toBe("trust_unavailable");
});

test("a chain longer than eight certificates is refused", () => {
  const { verify } = setUp();
  expect(verify({ chain: [hello.der, ...Array.from({ length: 8 }, () => eastIssuer.der)] })).toBe("path_too_long");
  expect(verify({ chain: [hello.der, ...Array.from({ length: 40 }, () => eastIssuer.der)] })).toBe("path_too_long");
});

describe("a peer known from before is asked again everything but its signatures", () => {
  test("its expiry", () => {
    const { clock, verify } = setUp();
    expect(verify()).toBe("spiffe://east/hello");
    clock.nowMs = startMs + day + 999;
    expect(verify()).toBe("spiffe://east/hello");
    clock.nowMs = startMs + day + 1000;
    expect(verify()).toBe("path_expired");
  });

  test("a clock that is set back before the certificate was valid", () => {
    const { clock, verify } = setUp();
    expect(verify()).toBe("spiffe://east/hello");
    clock.nowMs = Date.UTC(2020, 0, 1);
    expect(verify()).toBe("path_not_yet_valid");
  });

  test("its revocation", () => {
    const { holder, verify } = setUp();
    expect(verify()).toBe("spiffe://east/hello");
    holder.setRevoked(new Set([hello.serialNumber]));
    expect(verify()).toBe("certificate_revoked");
    holder.setRevoked(new Set());
    expect(verify()).toBe("spiffe://east/hello");
  });

  test("the revocation of what issued it, be that an authority of ours or one that was signed for another CA", () => {
    const { holder, verify } = setUp();
    expect(verify()).toBe("spiffe://east/hello");
    holder.setRevoked(new Set([parseCertificate(eastIssuer.der).serialNumber]));
    expect(verify()).toBe("certificate_revoked");
  });

  test("the bundle that vouched for it", () => {
    const { holder, verify } = setUp();
    expect(verify()).toBe("spiffe://east/hello");
    holder.setBundles("east", new Map([["east", testAuthority({ trustDomain: "east" }).bundle()]]));
    expect(verify()).toBe("path_key_identifier_mismatch");
    holder.setBundles("east", new Map());
    expect(verify()).toBe("svid_trust_domain_unknown");
  });

  test("the ID that is expected of it", () => {
    const { verify } = setUp();
    expect(verify(hello, "spiffe://east/hello")).toBe("spiffe://east/hello");
    expect(verify(hello, "spiffe://east/world")).toBe("svid_id_unexpected");
  });
});

describe("what is remembered is the exact leaf", () => {
  test("the same certificate with a broken signature is another leaf", () => {
    const { verify } = setUp();
    expect(verify()).toBe("spiffe://east/hello");
    const forged = Buffer.from(hello.der);
    forged[forged.length - 3]! ^= 1;
    expect(verify({ chain: [forged, ...hello.chain.slice(1)] })).toBe("path_signature_invalid");
  });

  test("a leaf that was never seen with its issuer is not accepted without it", () => {
    const { verify } = setUp();
    expect(verify({ chain: [hello.der] })).toBe("path_not_found");
    expect(verify()).toBe("spiffe://east/hello");
  });

  test("the key of another leaf of the same workload is not enough", () => {
    const { verify } = setUp();
    expect(verify()).toBe("spiffe://east/hello");
    const impostor = testAuthority({ trustDomain: "east" }).issuer().leaf({ spiffeId: "spiffe://east/hello" });
    expect(verify({ chain: [impostor.der, ...hello.chain.slice(1)] })).toBe("path_key_identifier_mismatch");
  });

  test("a good client is not remembered as a server", () => {
    const { verifier } = setUp();
    const peer = verifier.verify(socketOf(hello.chain), "client");
    expect(verifier.verify(socketOf(hello.chain), "server").svid).not.toBe(peer.svid);
    expect(verifier.verify(socketOf(hello.chain), "client").svid).toBe(peer.svid);
  });

  test("only so many are remembered", () => {
    const { verifier } = setUp();
    const first = verifier.verify(socketOf(hello.chain), "client");
    const key = testKey();
    for (let count = 0; count < 1024; count++) {
      const leaf = eastIssuer.leaf({ spiffeId: `spiffe://east/w${count}`, key });
      verifier.verify(socketOf(leaf.chain), "client");
    }
    expect(verifier.verify(socketOf(hello.chain), "client").svid).not.toBe(first.svid);
  });
});

test("an established peer is judged again by the trust of now", () => {
  const { holder, verifier } = setUp();
  const peer = verifier.verify(socketOf(hello.chain), "client");
  verifier.recheck(peer);
  holder.setRevoked(new Set([hello.serialNumber]));
  expect(codeOf(() => (verifier.recheck(peer), "still good"))).toBe("certificate_revoked");
});
