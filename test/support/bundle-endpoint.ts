import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type ServerOptions } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import type { TestLeaf } from "./test-ca.ts";

/** A SPIFFE bundle endpoint of another make: a real HTTPS server that answers what it is set to. */
export interface BundleEndpoint {
  readonly port: number;
  /** By name: what https_web needs. */
  readonly url: string;
  /** Answered to each request; may be set again. */
  answer: (request: IncomingMessage, response: ServerResponse) => void;
  /** Paths asked for, in order. */
  readonly asked: readonly string[];
  /** Whether anybody showed a client certificate. */
  clientCertificates(): number;
  /** Presents another certificate from now on. */
  present(leaf: TestLeaf): void;
  close(): Promise<void>;
}

export async function bundleEndpoint(leaf: TestLeaf, body: string, options: ServerOptions = {}): Promise<BundleEndpoint> {
  const asked: string[] = [];
  let shown = 0;
  // Asks for a certificate, takes any and none: a client that shows one does more than it should.
  const server = createServer({ cert: leaf.chainPem, key: leaf.privateKeyPem, requestCert: true, rejectUnauthorized: false, ...options }, (request, response) => {
    asked.push(request.url ?? "");
    if ((request.socket as TLSSocket).getPeerX509Certificate() !== undefined) shown += 1;
    request.resume();
    endpoint.answer(request, response);
  });
  server.on("tlsClientError", () => undefined);
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const endpoint: BundleEndpoint = {
    port, url: `https://localhost:${port}/bundle`, asked,
    answer: (_, response) => void response.writeHead(200, { "content-type": "application/json" }).end(body),
    clientCertificates: () => shown,
    present: (next) => server.setSecureContext({ cert: next.chainPem, key: next.privateKeyPem }),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return endpoint;
}
