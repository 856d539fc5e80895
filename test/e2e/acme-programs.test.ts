import * as acme from "acme-client";
import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { Agent } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readConfig } from "../../ca/config/config.ts";
import { serveCa, type ServedCa } from "../../ca/runtime/node.ts";
import { freePort } from "../../infra/demo/place.ts";
import { startDnsServer, type DnsServer } from "../support/dns-server.ts";
import { programAvailable } from "../support/programs.ts";

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "countersign-acme-e2e-"));
const path = (file: string): string => join(folder, file);
const eab = { kid: "team-shop", key: Buffer.from("a-secret-of-the-team-that-is-long").toString("base64url") };
let dns: DnsServer;
let served: ServedCa;
let ports: { readonly http: number; readonly tls: number };
beforeAll(async () => {
  dns = await startDnsServer();
  ports = { http: await freePort(), tls: await freePort() };
  for (const name of ["web", "lego", "tls", "txt", "node"]) dns.addresses.set(`${name}.shop.internal`, "127.0.0.1");
  dns.texts = (name) => (name === "_acme-challenge.txt.shop.internal" && existsSync(path("txt")) ? [readFileSync(path("txt"), "utf8").trim()] : []);
  writeFileSync(path("accounts.json"), JSON.stringify({ [eab.kid]: { key: eab.key, names: ["*.shop.internal"] } }), { mode: 0o600 });
  served = await serveCa(readConfig({
    flags: { "data-dir": path("ca"), "trust-domain": "east", listen: "127.0.0.1:0" },
    file: { acme: { names: ["*.internal"], externalAccountsFile: path("accounts.json"), resolver: dns.address, reach: ["127.0.0.0/8"], httpPort: ports.http, tlsPort: ports.tls } },
  }), pino({ level: "silent" }));
  writeFileSync(path("root.pem"), served.ca.bundle().pem);
});
afterAll(async () => {
  await served.stop();
  dns.close();
  rmSync(folder, { recursive: true, force: true });
});

async function certbot(...args: readonly string[]): Promise<string> {
  const own = ["--config-dir", path("certbot"), "--work-dir", path("certbot-work"), "--logs-dir", path("certbot-logs"), "--non-interactive", "--server", `${served.url}/acme/directory`];
  const { stdout, stderr } = await run("certbot", [...args, ...own], { env: { ...process.env, REQUESTS_CA_BUNDLE: path("root.pem") }, timeout: 60_000 });
  return stdout + stderr;
}

async function lego(...args: readonly string[]): Promise<string> {
  const own = ["--server", `${served.url}/acme/directory`, "--accept-tos", "--email", "shop@shop.internal", "--eab", "--kid", eab.kid, "--hmac", eab.key, "--path", path("lego"), "--dns.resolvers", dns.address];
  const { stdout, stderr } = await run("lego", [...own, ...args], { env: { ...process.env, LEGO_CA_CERTIFICATES: path("root.pem") }, timeout: 60_000 });
  return stdout + stderr;
}

function chainOf(file: string): readonly X509Certificate[] {
  return readFileSync(file, "utf8").match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g)!.map((pem) => new X509Certificate(pem));
}

async function check(file: string, name: string): Promise<string> {
  const [leaf, issuer] = chainOf(file);
  expect(leaf!.subjectAltName).toBe(`DNS:${name}, URI:spiffe://east/acme/${name}`);
  expect(leaf!.verify(issuer!.publicKey)).toBe(true);
  expect(issuer!.verify(new X509Certificate(served.ca.bundle().pem).publicKey)).toBe(true);
  const serialNumber = leaf!.serialNumber.toLowerCase();
  expect(await served.ca.store.certificate(serialNumber)).toMatchObject({ attestation: "acme", spiffeId: `spiffe://east/acme/${name}` });
  return serialNumber;
}

test.skipIf(!programAvailable("certbot"))("certbot gets a certificate by http-01, another by dns-01, renews and revokes", async () => {
  const own = ["--agree-tos", "--register-unsafely-without-email", "--eab-kid", eab.kid, "--eab-hmac-key", eab.key];
  await certbot("certonly", ...own, "--standalone", "--http-01-port", String(ports.http), "--http-01-address", "127.0.0.1", "-d", "web.shop.internal");
  const live = path("certbot/live/web.shop.internal");
  const first = await check(join(live, "cert.pem").replace("cert.pem", "fullchain.pem"), "web.shop.internal");
  await certbot("certonly", "--manual", "--preferred-challenges", "dns", "--manual-auth-hook", `sh -c 'printf %s "$CERTBOT_VALIDATION" > ${path("txt")}'`, "-d", "txt.shop.internal");
  await check(path("certbot/live/txt.shop.internal/fullchain.pem"), "txt.shop.internal");
  await certbot("renew", "--force-renewal", "--cert-name", "web.shop.internal", "--no-random-sleep-on-renew");
  const second = await check(join(live, "fullchain.pem"), "web.shop.internal");
  expect(second).not.toBe(first);
  await certbot("revoke", "--cert-path", join(live, "cert.pem"), "--reason", "superseded", "--no-delete-after-revoke");
  expect((await served.ca.store.certificate(second))?.revokedAtMs).toBeDefined();
}, 90_000);

test.skipIf(!programAvailable("lego"))("lego gets a certificate by http-01, another by tls-alpn-01, and none for a name that is not its external account's", async () => {
  await lego("--domains", "lego.shop.internal", "--http", "--http.port", `127.0.0.1:${ports.http}`, "run");
  await check(path("lego/certificates/lego.shop.internal.crt"), "lego.shop.internal");
  await lego("--domains", "tls.shop.internal", "--tls", "--tls.port", `127.0.0.1:${ports.tls}`, "run");
  const serialNumber = await check(path("lego/certificates/tls.shop.internal.crt"), "tls.shop.internal");
  await lego("--domains", "tls.shop.internal", "revoke");
  expect((await served.ca.store.certificate(serialNumber))?.revokedAtMs).toBeDefined();
  await expect(lego("--domains", "web.bank.internal", "--http", "--http.port", `127.0.0.1:${ports.http}`, "run")).rejects.toThrow(/rejectedIdentifier/);
  expect(readdirSync(path("lego/certificates")).some((file) => file.startsWith("web.bank"))).toBe(false);
}, 90_000);

test("acme-client, from npm, gets a certificate by http-01, another by dns-01, and revokes", async () => {
  const agent = new Agent({ ca: readFileSync(path("root.pem")) });
  const answers = new Map<string, string>();
  const web = createServer(({ url = "" }, response) => void response.end(answers.get(url))).listen(ports.http, "127.0.0.1");
  await once(web, "listening");
  const before = acme.axios.defaults.httpsAgent as Agent | undefined;
  acme.axios.defaults.httpsAgent = agent;
  try {
    const client = new acme.Client({
      directoryUrl: `${served.url}/acme/directory`, accountKey: await acme.crypto.createPrivateEcdsaKey(), externalAccountBinding: { kid: eab.kid, hmacKey: eab.key }, backoffMin: 100, backoffMax: 1000,
    });
    const order = async (name: string, challenge: string): Promise<string> => {
      const [, csr] = await acme.crypto.createCsr({ altNames: [name] });
      const chain = await client.auto({
        csr, termsOfServiceAgreed: true, challengePriority: [challenge],
        // It would ask the resolver of this machine, which knows nothing of these names.
        skipChallengeVerification: true,
        challengeCreateFn: async (_, { token }, keyAuthorization) => (
          challenge === "dns-01" ? writeFileSync(path("txt"), keyAuthorization) : void answers.set(`/.well-known/acme-challenge/${token}`, keyAuthorization)
        ),
        challengeRemoveFn: async () => answers.clear(),
      });
      writeFileSync(path(`${name}.pem`), chain);
      return check(path(`${name}.pem`), name);
    };
    const serialNumber = await order("node.shop.internal", "http-01");
    await order("txt.shop.internal", "dns-01");
    await client.revokeCertificate(readFileSync(path("node.shop.internal.pem"), "utf8"), { reason: 4 });
    expect((await served.ca.store.certificate(serialNumber))?.revokedAtMs).toBeDefined();
    await expect(order("web.bank.internal", "http-01")).rejects.toThrow(/gives no certificate for a name/);
  } finally {
    acme.axios.defaults.httpsAgent = before;
    agent.destroy();
    web.closeAllConnections();
    web.close();
  }
}, 60_000);
