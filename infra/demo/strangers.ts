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
export function askInbound(port: number, tls: ConnectionOptions | "plain text", host = "127.0.0.1"): Promise<string> {
  const target = { port, host };
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

/** A root that somebody made, PEM, and what it can sign. */
export interface MadeRoot {
  readonly cert: string;
  readonly key: string;
  /** A workload's certificate with this name, whether or not it is the root's to give. */
  issue(spiffeId: string): Credentials;
}

/** A certificate that says what ours say, in every field, but comes from a root that somebody made up. */
export function forgeIdentity(spiffeId: string): Credentials {
  return makeRoot("Somebody else").issue(spiffeId);
}

/** Makes a root of ten years, as ours are, with its key at hand. */
export function makeRoot(organization: string): MadeRoot {
  const root = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const name = encodeName({ commonName: "Countersign root", organization });
  const spki = spkiOf(root.publicKey);
  const notBeforeMs = Date.now() - 60_000;
  const common = { issuer: name, signatureAlgorithm: "ecdsa-sha256", notBeforeMs } as const;
  const authorityKeyIdentifier = subjectKeyIdentifier(spki);
  const rootTbs = encodeTbs({
    ...common, notAfterMs: notBeforeMs + tenYearsMs, serialNumber: randomBytes(16), subject: name, spki,
    extensions: {
      basicConstraints: { certificateAuthority: true }, keyUsage: ["keyCertSign", "crlSign"], subjectKeyIdentifier: authorityKeyIdentifier,
    },
  });
  const cert = signed(rootTbs, root.privateKey);
  return {
    cert, key: pemOf(root.privateKey),
    issue(spiffeId) {
      const leaf = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const leafSpki = spkiOf(leaf.publicKey);
      const leafTbs = encodeTbs({
        ...common, notAfterMs: Date.now() + 3_600_000, serialNumber: randomBytes(16), subject: emptyName, spki: leafSpki,
        extensions: {
          basicConstraints: { certificateAuthority: false }, keyUsage: ["digitalSignature"], extKeyUsage: ["serverAuth", "clientAuth"],
          subjectAltName: { uris: [spiffeId] }, subjectKeyIdentifier: subjectKeyIdentifier(leafSpki), authorityKeyIdentifier,
        },
      });
      return { cert: signed(leafTbs, root.privateKey) + cert, key: pemOf(leaf.privateKey) };
    },
  };
}

function spkiOf(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: "der", type: "spki" }));
}

function pemOf(key: KeyObject): string {
  return key.export({ format: "pem", type: "pkcs8" }) as string;
}

function signed(tbs: Uint8Array, key: KeyObject): string {
  return encodePem("CERTIFICATE", encodeCertificate(tbs, "ecdsa-sha256", sign("sha256", tbs, key)));
}

const answerTimeoutMs = 5_000;
const tenYearsMs = 10 * 365 * 24 * 3_600_000;
