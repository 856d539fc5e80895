import { createPublicKey } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { IssueRequest } from "../../ca/contract/certificates.ts";
import type { Policy } from "../../ca/contract/policies.ts";
import { problemStatus, type ProblemCode } from "../../ca/contract/problem.ts";
import type { Revocation } from "../../ca/contract/revocations.ts";
import type { Bootstrap } from "../../ca/pki/bootstrap.ts";
import { encodeBundle } from "../../ca/pki/bundle.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { parseCsr } from "../../ca/pki/csr.ts";
import { parseRenewalProof, verifyRenewalProof } from "../../ca/pki/renewal-proof.ts";
import { freePort } from "../../infra/demo/place.ts";
import { testAuthority, testKey, type LeafOptions, type TestAuthority } from "./test-ca.ts";

/** An answer as it goes over the wire. */
export interface FakeAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** A CA in memory that keeps the contract, unless a test makes it lie. */
export interface FakeCaCore {
  readonly root: TestAuthority;
  /** Signs what is issued; replace it to switch issuers. */
  issuer: TestAuthority;
  readonly token: string;
  readonly bootstrap: Bootstrap;
  readonly revocations: Revocation[];
  /** What `GET /v1/policy` gives; whoever changes it changes the sequence. */
  policies: readonly Policy[];
  policySequence: number;
  /** What every request was, in order. */
  readonly requests: FakeRequest[];
  /** Certificates given out, by attestation type. */
  readonly issued: { readonly attestation: string; readonly hasProof: boolean; readonly serialNumber: string; readonly spki: string }[];
  lifetimeMs: number;
  spiffeId: string;
  sequence: bigint;
  refreshHintSeconds: number | undefined;
  /** Last word on the certificate. */
  leafFaults: LeafOptions;
  /** Bundles of other trust domains, as JSON text. */
  foreign: Record<string, string>;
  bundleText: () => string;
  /** Answers instead of the CA; undefined leaves it to the CA. */
  intercept: (request: FakeRequest) => FakeAnswer | undefined;
  answer(request: FakeRequest): FakeAnswer;
}

export function fakeCaCore({ trustDomain = "east", now = Date.now, caUrl = "https://127.0.0.1:1" } = {}): FakeCaCore {
  const root = testAuthority({ trustDomain });
  const replays = new Map<string, FakeAnswer>();
  let redeemed = false;
  const core: FakeCaCore = {
    root, issuer: root.issuer(), token: "join_secret-of-the-token",
    bootstrap: { caUrl, token: "join_secret-of-the-token", rootFingerprint: parseCertificate(root.der).fingerprint, trustDomain },
    revocations: [], policies: [], policySequence: 0, requests: [], issued: [], lifetimeMs: 24 * 3_600_000, spiffeId: `spiffe://${trustDomain}/ns/shop/sa/cart`,
    sequence: 1n, refreshHintSeconds: undefined, leafFaults: {}, foreign: {},
    bundleText: () => encodeBundle({
      ...root.bundle(), sequence: core.sequence, ...(core.refreshHintSeconds !== undefined && { refreshHintSeconds: core.refreshHintSeconds }),
    }),
    intercept: () => undefined,
    answer(request) {
      core.requests.push(request);
      const intercepted = core.intercept(request);
      if (intercepted !== undefined) return intercepted;
      if (request.path === "/v1/bundle") return bundle(request);
      if (request.path === "/v1/revocations") return revocations(request);
      if (request.path === "/v1/federated-bundles") return federated();
      if (request.path === "/v1/policy") return policy(request);
      if (request.path === "/v1/certificates" && request.method === "POST") return issue(request);
      return problem("not_found");
    },
  };

  function bundle({ headers }: FakeRequest): FakeAnswer {
    const etag = `"${core.sequence}"`;
    if (headers["if-none-match"] === etag) return { status: 304, headers: { etag }, body: "" };
    return { status: 200, headers: { etag, "content-type": "application/json" }, body: core.bundleText() };
  }

  function federated(): FakeAnswer {
    const bundles = Object.entries(core.foreign).map(([name, text]) => `${JSON.stringify(name)}:${text}`);
    return { status: 200, headers: { "content-type": "application/json" }, body: `{"sequence":1,"trustDomains":${JSON.stringify(Object.keys(core.foreign))},"bundles":{${bundles.join(",")}}}` };
  }

  function revocations({ query }: FakeRequest): FakeAnswer {
    const after = Number(query.get("after"));
    const page = core.revocations.filter(({ sequence }) => sequence > after).slice(0, pageSize);
    const sequence = page.at(-1)?.sequence ?? core.revocations.at(-1)?.sequence ?? 0;
    return json(200, { revocations: page, sequence, more: core.revocations.some((one) => one.sequence > sequence) });
  }

  function policy({ headers }: FakeRequest): FakeAnswer {
    const etag = `"${core.policySequence}"`;
    if (headers["if-none-match"] === etag) return { status: 304, headers: { etag }, body: "" };
    return json(200, { sequence: core.policySequence, workload: core.spiffeId, policies: core.policies, services: [] });
  }

  function issue({ body, headers }: FakeRequest): FakeAnswer {
    const key = String(headers["idempotency-key"]);
    const before = replays.get(key);
    if (before !== undefined) return before;
    const { csr, attestation, lifetimeSeconds } = JSON.parse(body) as IssueRequest;
    const csrDer = Buffer.from(csr, "base64");
    const { spki, keyAlgorithm } = parseCsr(csrDer);
    if (attestation.type === "operator") return problem("forbidden");
    const given = "proof" in attestation && attestation.type !== "x509" ? attestation.proof : undefined;
    if (given !== undefined) {
      const proof = parseRenewalProof(given);
      const leaf = parseCertificate(proof.chain[0]!);
      verifyRenewalProof(proof, leaf.publicKey, csrDer, trustDomain);
      if (attestation.type === "svid" && leaf.notAfterMs < now()) return problem("certificate_expired");
    }
    if (attestation.type === "join-token") {
      if (attestation.token !== core.token) return problem("token_unknown");
      if (redeemed && attestation.proof === undefined) return problem("token_already_redeemed");
      redeemed = true;
    }
    const notBeforeMs = Math.floor(now() / 1000) * 1000 - 20_000;
    const leaf = core.issuer.leaf({
      spiffeId: core.spiffeId, notBeforeMs, notAfterMs: notBeforeMs + 20_000 + (lifetimeSeconds === undefined ? core.lifetimeMs : lifetimeSeconds * 1000),
      key: { ...testKey(), publicKey: createPublicKey({ key: spki as Buffer, format: "der", type: "spki" }), kind: keyAlgorithm as "ec-p256" }, ...core.leafFaults,
    });
    const { serialNumber } = leaf;
    core.issued.push({ attestation: attestation.type, hasProof: given !== undefined, serialNumber, spki: Buffer.from(spki).toString("hex") });
    // Assembled as text: a sequence of 64 bits does not survive JSON.parse.
    const bundles = Object.entries({ ...core.foreign, [trustDomain]: core.bundleText() }).map(([name, text]) => `${JSON.stringify(name)}:${text}`);
    const answer = {
      status: 201, headers: { "content-type": "application/json" },
      body: `{"serialNumber":"${serialNumber}","spiffeId":"${core.spiffeId}","chain":${JSON.stringify(leaf.chainPem)},"bundles":{${bundles.join(",")}},"bundleSequence":"${core.sequence}","logIndex":1}`,
    };
    replays.set(key, answer);
    return answer;
  }
  return core;
}

/** The same behind a real TLS socket. */
export interface FakeCa {
  readonly core: FakeCaCore;
  /** With the port it listens on. */
  readonly bootstrap: Bootstrap;
  readonly url: string;
  /** What each TLS connection brought: whether a client certificate came with it, whether it was resumed. */
  readonly connections: { readonly clientCertificate: boolean; readonly resumed: boolean }[];
  /** Reads requests and never answers while true. */
  silent: boolean;
  /** How long it takes over each answer. */
  delayMs: number;
  /** Decides whether the connection is closed instead of sending the answer that was made. */
  loses: (path: string) => boolean;
  /** From now on the server proves itself by a certificate of this CA. */
  present(authority: TestAuthority): void;
  /** Stops listening and cuts what is open. */
  stop(): Promise<void>;
  /** Listens again on the same port. */
  start(): Promise<void>;
}

export async function fakeCa(options: {
  readonly trustDomain?: string;
  /** ID in the server's certificate. Default `spiffe://<trust domain>/countersign/ca`. */
  readonly serverId?: string;
  /** Signs the server's certificate. Default: our own root. */
  readonly serverAuthority?: TestAuthority;
  readonly serverFaults?: LeafOptions;
  readonly maxVersion?: "TLSv1.2" | "TLSv1.3";
  readonly now?: () => number;
} = {}): Promise<FakeCa> {
  const core = fakeCaCore(options);
  const { serverId = `spiffe://${options.trustDomain ?? "east"}/countersign/ca`, serverAuthority = core.root.issuer() } = options;
  let leaf = serverAuthority.leaf({ spiffeId: serverId, ...options.serverFaults });
  const connections: FakeCa["connections"] = [];
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  const port = await freePort();

  const ca: FakeCa = {
    core, connections, silent: false, delayMs: 0, loses: () => false,
    get url() { return `https://127.0.0.1:${port}`; },
    get bootstrap() { return { ...core.bootstrap, caUrl: `https://127.0.0.1:${port}` }; },
    present(authority) {
      leaf = authority.leaf({ spiffeId: serverId });
      server?.setSecureContext({ cert: leaf.chainPem, key: leaf.privateKeyPem });
    },
    async stop() {
      const closing = server;
      server = undefined;
      if (closing === undefined) return;
      const closed = once(closing, "close");
      closing.close();
      // Also those that are still in their handshake, which the server does not count as its own.
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    async start() {
      server = createServer({ cert: leaf.chainPem, key: leaf.privateKeyPem, requestCert: true, rejectUnauthorized: false, maxVersion: options.maxVersion }, serve);
      server.on("connection", (socket: Socket) => {
        sockets.add(socket);
        socket.once("close", () => sockets.delete(socket));
      });
      server.on("secureConnection", (socket: TLSSocket) => {
        connections.push({ clientCertificate: socket.getPeerX509Certificate() !== undefined, resumed: socket.isSessionReused() });
      });
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    },
  };

  function serve(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const url = new URL(request.url ?? "/", "https://ca");
      const made = core.answer({
        method: request.method ?? "", path: url.pathname, query: url.searchParams, headers: request.headers, body: Buffer.concat(chunks).toString(),
      });
      if (ca.silent) return;
      if (ca.loses(url.pathname)) {
        request.socket.destroy();
        return;
      }
      const respond = (): void => void response.writeHead(made.status, { ...made.headers }).end(made.body);
      if (ca.delayMs > 0) setTimeout(respond, ca.delayMs);
      else respond();
    });
  }

  await ca.start();
  return ca;
}

/** A refusal as the CA writes it. */
export function problem(code: ProblemCode, headers: Readonly<Record<string, string>> = {}): FakeAnswer {
  const status = problemStatus[code];
  return {
    status, headers: { "content-type": "application/problem+json", ...headers },
    body: JSON.stringify({ type: `urn:countersign:problem:${code}`, title: code, status, detail: `Refused for ${code}.`, code }),
  };
}

export function json(status: number, value: unknown): FakeAnswer {
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}

const pageSize = 3;
