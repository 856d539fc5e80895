import { generateKeyPairSync, randomBytes, sign, type KeyObject } from "node:crypto";
import { connect as connectTcp } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { subjectKeyIdentifier } from "../../ca/pki/key.ts";
import { encodePem } from "../../ca/pki/pem.ts";
import { emptyName, encodeCertificate, encodeName, encodeTbs } from "../../ca/pki/tbs.ts";

/** What a client presents in its handshake: PEM chain and key. */
export interface Credentials {
  readonly cert: string;
  readonly key: string;
}

/**
 * Sends one HTTP request over TCP or TLS to an inbound port and reads until the other side ends.
 * @returns what came back; the empty string where the connection was closed or reset without an answer
 */
export function askInbound(port: number, tls: ConnectionOptions | "plain text"): Promise<string> {
  const target = { port, host: "127.0.0.1" };
  const socket = tls === "plain text"
    ? connectTcp(target)
    // The stranger does not care who answers, so it verifies nothing: what is shown is that the proxy does.
    : connectTls({ ...target, ...tls, minVersion: "TLSv1.3", rejectUnauthorized: false });
  let answer = "";
  return new Promise((resolve) => {
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
    // A reset is a refusal like any other: what counts is that nothing was answered.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve(answer));
    socket.setTimeout(answerTimeoutMs, () => socket.destroy());
    socket.write("GET /whoami HTTP/1.1\r\nHost: world\r\nConnection: close\r\n\r\n");
  });
}

/** A certificate that says what ours say, in every field, but comes from a root that somebody made up. */
export function forgeIdentity(spiffeId: string): Credentials {
  const root = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const leaf = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const name = encodeName({ commonName: "Countersign root", organization: "Somebody else" });
  const [rootSpki, leafSpki] = [root, leaf].map(({ publicKey }) => new Uint8Array(publicKey.export({ format: "der", type: "spki" }))) as [Uint8Array, Uint8Array];
  const now = Date.now();
  const common = { issuer: name, signatureAlgorithm: "ecdsa-sha256", notBeforeMs: now - 60_000, notAfterMs: now + 3_600_000 } as const;
  const authorityKeyIdentifier = subjectKeyIdentifier(rootSpki);
  const rootTbs = encodeTbs({
    ...common, serialNumber: randomBytes(16), subject: name, spki: rootSpki,
    extensions: {
      basicConstraints: { certificateAuthority: true }, keyUsage: ["keyCertSign", "crlSign"], subjectKeyIdentifier: authorityKeyIdentifier,
    },
  });
  const leafTbs = encodeTbs({
    ...common, serialNumber: randomBytes(16), subject: emptyName, spki: leafSpki,
    extensions: {
      basicConstraints: { certificateAuthority: false }, keyUsage: ["digitalSignature"], extKeyUsage: ["serverAuth", "clientAuth"],
      subjectAltName: { uris: [spiffeId] }, subjectKeyIdentifier: subjectKeyIdentifier(leafSpki), authorityKeyIdentifier,
    },
  });
  return {
    cert: signed(leafTbs, root.privateKey) + signed(rootTbs, root.privateKey),
    key: leaf.privateKey.export({ format: "pem", type: "pkcs8" }) as string,
  };
}

function signed(tbs: Uint8Array, key: KeyObject): string {
  return encodePem("CERTIFICATE", encodeCertificate(tbs, "ecdsa-sha256", sign("sha256", tbs, key)));
}

const answerTimeoutMs = 5_000;
