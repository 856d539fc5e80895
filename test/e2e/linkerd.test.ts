import { spawn } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readConfig } from "../../ca/config/config.ts";
import { encodeCsr } from "../../ca/pki/csr.ts";
import { decodeFrame, encodeFrame } from "../../ca/pki/grpc.ts";
import { encodePem } from "../../ca/pki/pem.ts";
import { decodeFields, encodeField } from "../../ca/pki/protobuf.ts";
import { serveCa, type ServedCa } from "../../ca/runtime/node.ts";
import { startCluster, type Cluster } from "../support/cluster.ts";
import { opensslAvailable } from "../support/openssl.ts";
import { newKey } from "../support/running-ca.ts";
import { testAuthority } from "../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-linkerd-e2e-"));
const identityService = "linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local";
const nameOf = (serviceAccount: string): string => `${serviceAccount}.shop.serviceaccount.identity.linkerd.cluster.local`;
let cluster: Cluster;
let served: ServedCa;
let root: string;
beforeAll(async () => {
  cluster = await startCluster(() => new Date());
  const { platform, ownTokenFile } = cluster;
  served = await serveCa(readConfig({
    flags: { "data-dir": join(folder, "ca"), "trust-domain": "east", listen: "127.0.0.1:0", "linkerd-listen": "127.0.0.1:0", "linkerd-attestor": "cluster" },
    file: {
      apiNames: [identityService],
      attestors: {
        cluster: {
          type: "kubernetes", api: platform.url, caFile: platform.caFile, tokenFile: ownTokenFile, audience: "identity.l5d.io",
          dnsNames: ["{serviceAccount}.{namespace}.serviceaccount.identity.linkerd.cluster.local"],
        },
      },
    },
  }), pino({ level: "silent" }));
  root = served.ca.bundle().pem;
});
afterAll(async () => {
  await served.stop();
  await cluster.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The first flight of a linkerd2-proxy: TLS 1.3, the identity service's name, no ALPN; its last certificate where it is asked for one. */
async function dial(): Promise<TLSSocket> {
  const expired = testAuthority({ trustDomain: "east" }).leaf({ notAfterMs: Date.now() - 3_600_000 });
  const socket = connect({ host: "127.0.0.1", port: served.linkerdPort!, servername: identityService, ca: root, minVersion: "TLSv1.3", cert: expired.chainPem, key: expired.privateKeyPem });
  await once(socket, "secureConnect");
  return socket;
}

interface Certified {
  readonly chain: readonly Uint8Array[];
  readonly validUntil: number;
}

/** As linkerd2-proxy calls: HTTP/2 with prior knowledge, scheme http. */
async function certify(serviceAccount: string, key: ReturnType<typeof newKey>): Promise<Certified> {
  const socket = await dial();
  expect(socket.alpnProtocol).toBe(false);
  const session = connectHttp2("http://linkerd-identity-headless.linkerd.svc.cluster.local:8080", { createConnection: () => socket });
  try {
    const stream = session.request({ ":method": "POST", ":path": "/io.linkerd.proxy.identity.Identity/Certify", "content-type": "application/grpc", te: "trailers" });
    const token = await cluster.token({ pod: `${serviceAccount}-1`, serviceAccount, audience: "identity.l5d.io" });
    stream.end(encodeFrame(Buffer.concat([encodeField(1, nameOf(serviceAccount)), encodeField(2, token), encodeField(3, encodeCsr({ privateKey: key, dnsSans: [nameOf(serviceAccount)] }))])));
    const [chunks, trailers] = [[] as Buffer[], once(stream, "trailers")];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    expect(((await trailers) as [Record<string, string>])[0]["grpc-status"]).toBe("0");
    const message = decodeFrame(Buffer.concat(chunks));
    if ("code" in message) throw new Error(message.message);
    const fields = decodeFields(message);
    const [leaf] = fields.get(1)!;
    return { chain: [leaf!, ...fields.get(2)!], validUntil: Date.parse(new X509Certificate(leaf!).validTo) };
  } finally {
    session.close();
  }
}

test("LC-01, LC-02, LC-06, LC-09: an unmodified proxy's first flight, without ALPN, scheme http, a connection for each call, gets a certificate, by which two of them are mutual TLS, each by the other's name", async () => {
  const [cartKey, tillKey] = [newKey(), newKey()];
  const [cart, till] = [await certify("cart", cartKey), await certify("till", tillKey)];
  // The key stays the same until the pod restarts.
  expect((await certify("cart", cartKey)).chain[0]).not.toEqual(cart.chain[0]);
  const credentials = ({ chain }: Certified, key: ReturnType<typeof newKey>) => ({ cert: chain.map((der) => encodePem("CERTIFICATE", der)).join(""), key: key.export({ format: "pem", type: "pkcs8" }), ca: root });
  const server = createServer({ ...credentials(till, tillKey), requestCert: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "secureConnection") as Promise<[TLSSocket]>;
  const client = connect({ host: "127.0.0.1", port: (server.address() as AddressInfo).port, servername: nameOf("till"), ...credentials(cart, cartKey) });
  await once(client, "secureConnect");
  const [peer] = await accepted;
  expect(peer.authorized).toBe(true);
  // The proxy takes the first name for the identity.
  expect(peer.getPeerX509Certificate()?.subjectAltName).toBe(`DNS:${nameOf("cart")}, URI:spiffe://east/ns/shop/sa/cart`);
  client.destroy();
  server.close();
});

test("LC-03, LC-04: the endpoint shows the identity service's name, by the anchors that proxies have, with a key that they take", async () => {
  const socket = await dial();
  expect(socket.authorized).toBe(true);
  const leaf = socket.getPeerX509Certificate()!;
  expect(leaf.subjectAltName).toContain(`DNS:${identityService}`);
  expect(leaf.publicKey.asymmetricKeyType).toBe("ec");
  socket.destroy();
  const wrong = connect({ host: "127.0.0.1", port: served.linkerdPort!, servername: nameOf("cart"), ca: root });
  const [error] = (await once(wrong, "error").catch((cause: unknown) => [cause])) as [NodeJS.ErrnoException];
  expect(error.code).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
});

test.skipIf(!opensslAvailable)("LC-05: no client certificate is asked for: the handshake has no CertificateRequest, as that of a server that asks for one has", async () => {
  const messagesOf = async (port: number): Promise<string> => {
    const child = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, "-servername", identityService, "-tls1_3", "-msg"], { stdio: ["pipe", "pipe", "ignore"] });
    child.stdin.end();
    let text = "";
    for await (const chunk of child.stdout) text += String(chunk);
    return text;
  };
  const seen = await messagesOf(served.linkerdPort!);
  expect(seen).toMatch(/<<< .*CertificateVerify/);
  expect(seen).not.toContain("CertificateRequest");
  const asking = testAuthority({ trustDomain: "east" }).leaf();
  const server = createServer({ key: asking.privateKeyPem, cert: asking.chainPem, requestCert: true, rejectUnauthorized: false }).listen(0, "127.0.0.1");
  await once(server, "listening");
  expect(await messagesOf((server.address() as AddressInfo).port)).toContain("CertificateRequest");
  server.close();
});

test("the protocol is Linkerd's field for field: a client made from its proto file reads all of it", async () => {
  const { io } = grpc.loadPackageDefinition(loadSync(fileURLToPath(new URL("../vectors/linkerd/identity.proto", import.meta.url)), { keepCase: true })) as unknown as {
    io: { linkerd: { proxy: { identity: { Identity: grpc.ServiceClientConstructor } } } };
  };
  const client = new io.linkerd.proxy.identity.Identity(`127.0.0.1:${served.linkerdPort}`, grpc.credentials.createSsl(Buffer.from(root)), { "grpc.ssl_target_name_override": identityService });
  const call = (request: object) => new Promise<{ leaf_certificate: Buffer; intermediate_certificates: Buffer[]; valid_until: { seconds: { toNumber(): number } } }>((resolve, reject) => {
    client["Certify"]!(request, (error: grpc.ServiceError | null, answer: never) => (error === null ? resolve(answer) : reject(error)));
  });
  const key = newKey();
  const request = { identity: nameOf("cart"), token: Buffer.from(await cluster.token({ pod: "cart-2", audience: "identity.l5d.io" })), certificate_signing_request: encodeCsr({ privateKey: key, dnsSans: [nameOf("cart")] }) };
  const { leaf_certificate: der, intermediate_certificates: above, valid_until: { seconds } } = await call(request);
  const leaf = new X509Certificate(der);
  const issuer = new X509Certificate(above[0]!);
  expect(leaf.checkPrivateKey(createPrivateKey(key.export({ format: "pem", type: "pkcs8" })))).toBe(true);
  expect(leaf.verify(issuer.publicKey)).toBe(true);
  expect(issuer.verify(new X509Certificate(root).publicKey)).toBe(true);
  expect(above.map((one) => new X509Certificate(one).subject)).not.toContain(new X509Certificate(root).subject);
  expect(Math.abs(Number(seconds) * 1000 - Date.parse(leaf.validTo))).toBeLessThan(1000);
  await expect(call({ ...request, identity: nameOf("till") })).rejects.toMatchObject({ code: grpc.status.FAILED_PRECONDITION, details: expect.stringContaining("one DNS name") as string });
  await expect(call({ ...request, token: Buffer.alloc(40_000, "x") })).rejects.toMatchObject({ code: grpc.status.RESOURCE_EXHAUSTED });
  cluster.deletedPods.add("cart-2");
  await expect(call(request)).rejects.toMatchObject({ code: grpc.status.FAILED_PRECONDITION, details: expect.stringContaining("was deleted") as string });
  client.close();
});

test("LC-01: a client that does not speak HTTP/2, or an older TLS, is turned away", async () => {
  const socket = await dial();
  socket.end("GET / HTTP/1.1\r\nhost: x\r\n\r\n").resume();
  await once(socket, "close");
  const old = connect({ host: "127.0.0.1", port: served.linkerdPort!, servername: identityService, ca: root, maxVersion: "TLSv1.2" });
  const [error] = (await once(old, "error").catch((cause: unknown) => [cause])) as [Error];
  expect(error.message).toMatch(/protocol version/);
});
