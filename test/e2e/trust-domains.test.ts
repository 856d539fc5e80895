import { execFileSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { subjectKeyIdentifier } from "../../ca/pki/key.ts";
import { decodePem, encodePem } from "../../ca/pki/pem.ts";
import { emptyName, encodeCertificate, encodeTbs } from "../../ca/pki/tbs.ts";
import { freePort } from "../../infra/demo/place.ts";
import { countersign, startCa, startProcess, startProxy, type RunningCa, type RunningProcess, type RunningProxy } from "../../infra/demo/processes.ts";
import { askInbound, type Credentials } from "../../infra/demo/strangers.ts";
import { httpGet } from "../support/http-get.ts";
import { opensslAvailable } from "../support/openssl.ts";

describe.skipIf(!opensslAvailable)("a proxy of trust domain a that knows trust domain b as well", () => {
  const dir = mkdtempSync(join(tmpdir(), "countersign-trust-domains-"));
  const inDir = (name: string) => join(dir, name);
  const running: RunningProcess[] = [];
  const servers: Server[] = [];
  /** Requests that reached a server behind the proxy's back. */
  const received: string[] = [];
  let proxy: RunningProxy;
  let genuine: Credentials;
  /** Signed by b's own root, which the proxy trusts, for b. */
  let rogue: Credentials;
  let direct: Credentials;

  beforeAll(async () => {
    makeRoot();
    const a = keep(await startCa({ dataDir: inDir("ca-a"), env: { COUNTERSIGN_TRUST_DOMAIN: "a" } }));
    const b = keep(await startCa({
      dataDir: inDir("ca-b"), env: { COUNTERSIGN_TRUST_DOMAIN: "b" }, args: ["--root-cert", inDir("b.pem"), "--root-key", inDir("b.key")],
    }));
    writeFileSync(inDir("b.bundle"), await countersign(b, "bundle", "show"));
    genuine = await issued(b, "spiffe://b/api");
    rogue = signedByRootOfB("spiffe://a/web");
    direct = signedByRootOfB("spiffe://b/api");
    const routes = await Promise.all(Object.entries({ genuine, rogue, direct }).map(async ([name, credentials]) => (
      ["--route", `${name}=127.0.0.1:${await serve(name, credentials)},${name === "rogue" ? "spiffe://a/web" : "spiffe://b/api"}`]
    )));
    const app = await freePort();
    keep(startProcess("infra/demo/world.ts", [], { PORT: String(app) }));
    proxy = keep(await startProxy({
      bootstrap: (await countersign(a, "token", "create", "--id", "spiffe://a/gateway")).trim(), app,
      args: ["--foreign-bundle", `b=${inDir("b.bundle")}`, "--allow", "spiffe://a/*", "--allow", "spiffe://b/*", ...routes.flat()],
    }));
  });
  afterAll(async () => {
    for (const server of servers) server.close();
    await Promise.all(running.map((process) => process.stop()));
    rmSync(dir, { recursive: true });
  });

  test("lets a certificate of b in, as who it is in b", async () => {
    expect(await askInbound(proxy.inboundPort, genuine)).toContain("spiffe://b/api\n");
  });

  test("lets nobody in as spiffe://a/web on the word of b's root, which is good for spiffe://b/api made the same way", async () => {
    expect(await askInbound(proxy.inboundPort, direct)).toContain("spiffe://b/api\n");
    expect(await askInbound(proxy.inboundPort, rogue)).toBe("");
  });

  test("sends requests to a server of b, where the route names it", async () => {
    expect(await askOutbound("genuine")).toEqual({ status: 200, body: "genuine" });
    expect(await askOutbound("direct")).toEqual({ status: 200, body: "direct" });
  });

  test("sends nothing to a server that is spiffe://a/web by b's root", async () => {
    const { status } = await askOutbound("rogue");
    expect(status).toBeGreaterThanOrEqual(500);
    expect(received).not.toContain("rogue");
    // For want of a path, and for nothing else: neither side refused any of the others.
    expect(await metric("outbound_refused_total")).toBe('outbound_refused_total{reason="path_not_found"} 1');
    expect(await metric("inbound_refused_total")).toBe('inbound_refused_total{reason="path_not_found"} 1');
  });

  function makeRoot(): void {
    execFileSync("openssl", [
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "b.key", "-out", "b.pem", "-days", "30",
      "-subj", "/CN=root of b", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
      "-addext", "subjectAltName=URI:spiffe://b",
    ], { cwd: dir, stdio: "ignore" });
  }

  function signedByRootOfB(spiffeId: string): Credentials {
    const rootPem = readFileSync(inDir("b.pem"), "utf8");
    const root = parseCertificate(decodePem(rootPem, "CERTIFICATE")[0]!);
    const leaf = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const spki = new Uint8Array(leaf.publicKey.export({ format: "der", type: "spki" }));
    const tbs = encodeTbs({
      serialNumber: randomBytes(16), signatureAlgorithm: "ecdsa-sha256", issuer: root.subject, subject: emptyName, spki,
      notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000,
      extensions: {
        basicConstraints: { certificateAuthority: false }, keyUsage: ["digitalSignature"], extKeyUsage: ["serverAuth", "clientAuth"],
        subjectAltName: { uris: [spiffeId] }, subjectKeyIdentifier: subjectKeyIdentifier(spki), authorityKeyIdentifier: root.subjectKeyIdentifier!,
      },
    });
    const signature = sign("sha256", tbs, createPrivateKey(readFileSync(inDir("b.key"))));
    return {
      cert: encodePem("CERTIFICATE", encodeCertificate(tbs, "ecdsa-sha256", signature)),
      key: leaf.privateKey.export({ format: "pem", type: "pkcs8" }) as string,
    };
  }

  async function issued(ca: RunningCa, spiffeId: string): Promise<Credentials> {
    const [cert, key] = [inDir("issued.pem"), inDir("issued.key")];
    await countersign(ca, "certificate", "issue", "--id", spiffeId, "--cert", cert, "--key", key);
    return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  }

  /** A server that presents `credentials` and takes every client: what is shown is that ours does not take every server. */
  async function serve(name: string, credentials: Credentials): Promise<number> {
    const server = createServer({ ...credentials, requestCert: true, rejectUnauthorized: false, minVersion: "TLSv1.3" }, (_request, response) => {
      received.push(name);
      response.end(name);
    });
    servers.push(server.listen(0, "127.0.0.1"));
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  }

  function askOutbound(host: string): Promise<{ readonly status: number; readonly body: string }> {
    return httpGet(proxy.outboundPort, `http://${host}/`, { host });
  }

  async function metric(name: string): Promise<string> {
    const { body } = await httpGet(proxy.adminPort, "/metrics");
    return body.split("\n").filter((line) => line.startsWith(name)).join("\n");
  }

  function keep<T extends RunningProcess>(process: T): T {
    running.push(process);
    return process;
  }
});
