import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { encodeBundle } from "../../ca/pki/bundle.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { decodePem } from "../../ca/pki/pem.ts";
import { makeRoot, type Credentials, type MadeRoot } from "../../infra/demo/strangers.ts";
import { dns, testAuthority } from "../support/test-ca.ts";

/** One web server with the bundles of many trust domains, d0 and so on. */
export interface Hub {
  /** PEM: by which the server is known. */
  readonly rootPem: string;
  urlOf(index: number): string;
  /** A certificate of the first of these trust domains. */
  credentials(spiffeId: string): Credentials;
  /** From now on its bundle has one root more. @returns its sequence */
  change(index: number): number;
  /** Of all bundles from now on, which all change by it. */
  hint(seconds: number): void;
  /** What is answered from now on. */
  answer: "bundles" | "nothing" | "faults";
  /** Of requests since the last call. */
  seen(): { readonly requests: number; readonly mostAtOnce: number; readonly mostInASecond: number };
  close(): Promise<void>;
}

export async function startHub(domains: number, firstHintSeconds: number): Promise<Hub> {
  let refreshHintSeconds = firstHintSeconds;
  const authority = testAuthority({ trustDomain: "hub.example" });
  const leaf = authority.leaf({ names: [dns("localhost")] });
  const roots: MadeRoot[][] = Array.from({ length: domains }, (_, index) => [makeRoot(`d${index}`)]);
  const bundleOf = (index: number): string => encodeBundle({
    trustDomain: `d${index}`, x509Authorities: roots[index]!.map(({ cert }) => parseCertificate(decodePem(cert, "CERTIFICATE")[0]!)), jwtAuthorities: [],
    sequence: BigInt(roots[index]!.length), refreshHintSeconds,
  });
  const bundles = roots.map((_, index) => bundleOf(index));
  let open = 0;
  let mostAtOnce = 0;
  let atMs: number[] = [];
  const server = createServer({ cert: leaf.chainPem, key: leaf.privateKeyPem }, async (request, response) => {
    atMs.push(performance.now());
    mostAtOnce = Math.max(mostAtOnce, ++open);
    response.once("close", () => (open -= 1));
    // As over a network.
    await delay(roundTripMs);
    if (hub.answer === "nothing") return;
    if (hub.answer === "faults") return void response.writeHead(503).end();
    response.setHeader("content-type", "application/json").end(bundles[Number(request.url?.slice(1))]);
  });
  server.on("tlsClientError", () => undefined).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const hub: Hub = {
    rootPem: authority.pem, answer: "bundles",
    urlOf: (index) => `https://localhost:${port}/${index}`,
    credentials: (spiffeId) => roots[0]![0]!.issue(spiffeId),
    change(index) {
      roots[index]!.push(makeRoot(`d${index}`));
      bundles[index] = bundleOf(index);
      return roots[index]!.length;
    },
    hint(seconds) {
      refreshHintSeconds = seconds;
      bundles.splice(0, bundles.length, ...roots.map((_, index) => bundleOf(index)));
    },
    seen() {
      const [requests, most] = [atMs, mostAtOnce];
      [atMs, mostAtOnce] = [[], open];
      return { requests: requests.length, mostAtOnce: most, mostInASecond: Math.max(0, ...requests.map((from, index) => requests.slice(index).findIndex((ms) => ms > from + 1000)).map((count, index) => (count < 0 ? requests.length - index : count))) };
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return hub;
}

const roundTripMs = 20;
