import { once } from "node:events";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SignJWT, type JWK, type JWTPayload } from "jose";
import { dns, ip, testAuthority } from "./test-ca.ts";

/** What vouches for workloads, over TLS on loopback: an issuer of tokens with its documents, and whatever else a test puts there. */
export interface Platform {
  readonly url: string;
  /** PEM of who it is known by. */
  readonly caFile: string;
  /** A folder that goes with it. */
  readonly folder: string;
  /** By path. */
  readonly answers: Map<string, PlatformAnswer>;
  /** Method and path of each request. */
  readonly requests: string[];
  /** Makes a key, published under /keys from now on. */
  addKey(keyId: string, alg?: "ES256" | "RS256"): SigningKey;
  close(): Promise<void>;
}

export type PlatformAnswer = (request: IncomingMessage, body: string) => { readonly status?: number; readonly json?: unknown; readonly text?: string; readonly headers?: Readonly<Record<string, string>> };

export interface SigningKey {
  readonly keyId: string;
  readonly alg: "ES256" | "RS256";
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export async function startPlatform(): Promise<Platform> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-platform-"));
  const authority = testAuthority({ trustDomain: "platform" });
  const leaf = authority.leaf({ names: [ip(127, 0, 0, 1), dns("localhost")] });
  const caFile = join(folder, "platform-ca.pem");
  writeFileSync(caFile, authority.pem);
  const answers = new Map<string, PlatformAnswer>();
  const requests: string[] = [];
  const published: JWK[] = [];
  const server = createServer({ key: leaf.privateKeyPem, cert: leaf.chainPem }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => {
      requests.push(`${request.method} ${request.url}`);
      const answer = answers.get(request.url ?? "");
      const { status = 200, json, text, headers = {} } = answer?.(request, Buffer.concat(chunks).toString()) ?? { status: 404, text: "" };
      response.writeHead(status, { "content-type": "application/json", ...headers }).end(text ?? JSON.stringify(json));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  answers.set("/.well-known/openid-configuration", () => ({ json: { issuer: url, jwks_uri: `${url}/keys` } }));
  answers.set("/keys", () => ({ json: { keys: published } }));
  return {
    url, caFile, folder, answers, requests,
    addKey(keyId, alg = "ES256") {
      const pair = alg === "ES256" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("rsa", { modulusLength: 2048 });
      published.push({ ...pair.publicKey.export({ format: "jwk" }), kid: keyId, alg, use: "sig" } as JWK);
      return { ...pair, keyId, alg };
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A token as its issuer makes it. */
export function signToken(key: SigningKey, claims: JWTPayload, header: Readonly<Record<string, unknown>> = {}): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: key.alg, kid: key.keyId, ...header }).sign(key.privateKey);
}

/** A token that says of itself whatever one likes; `sign` gets what is to be signed. */
export function forgeToken(header: object, claims: object, sign: (input: Buffer) => Uint8Array): string {
  const input = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${input}.${Buffer.from(sign(Buffer.from(input))).toString("base64url")}`;
}
