import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readConfig as readCaConfig } from "../../ca/config/config.ts";
import { encodePem } from "../../ca/pki/pem.ts";
import { serveCa, type ServedCa } from "../../ca/runtime/node.ts";
import { systemClock, type Clock } from "../../proxy/clock.ts";
import { readConfig } from "../../proxy/config/config.ts";
import { identityHolder, type IdentityHolder } from "../../proxy/identity/source.ts";
import { startIdentity, type IdentityKeeper } from "../../proxy/identity/start.ts";
import { createMetrics } from "../../proxy/metrics.ts";
import { startCluster, type Cluster } from "../support/cluster.ts";
import { changed } from "../support/identity-changes.ts";
import { startPlatform, type Platform } from "../support/platform.ts";
import { recordedLog } from "../support/recorded-log.ts";
import { serveSts, webIdentityAnswer } from "../support/sts-server.ts";
import { dns, name, testAuthority } from "../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-attestation-e2e-"));
const closing: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
const now = (): Date => new Date();
const nowMs = Date.now();
const old = testAuthority({ trustDomain: "old", spiffeId: null, notBeforeMs: nowMs - 86_400_000, notAfterMs: nowMs + 86_400_000 });
const path = (file: string): string => join(folder, file);
/** Waits of a retry take a hundredth. */
const clock: Clock = { now: Date.now, after: (delayMs, run) => systemClock.after(delayMs / 100, run) };
let cluster: Cluster;
let aws: Platform;
let served: ServedCa;
beforeAll(async () => {
  [cluster, aws] = await Promise.all([startCluster(now), startPlatform()]);
  closing.push(() => cluster.close(), () => aws.close());
  writeFileSync(path("old-root.pem"), old.pem);
  const { platform, ownTokenFile } = cluster;
  served = await serveCa(readCaConfig({
    flags: { "data-dir": path("ca"), "trust-domain": "east", listen: "127.0.0.1:0" },
    file: {
      attestors: {
        cluster: { type: "kubernetes", api: platform.url, caFile: platform.caFile, tokenFile: ownTokenFile, renew: "attest" },
        aws: { type: "aws-iam", regions: ["eu-test-1"], endpoint: aws.url, caFile: aws.caFile, when: { account: "123456789012", role: "web" } },
        old: { type: "x509", anchorsFile: path("old-root.pem"), spiffeId: "spiffe://{trustDomain}/old/{commonName}" },
      },
    },
  }), pino({ level: "silent" }));
  closing.push(() => served.stop());
  writeFileSync(path("roots.pem"), served.ca.bundle().pem);
});
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

interface Workload {
  readonly holder: IdentityHolder;
  readonly keeper: IdentityKeeper;
  readonly log: ReturnType<typeof recordedLog>;
}

function start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Workload {
  const [holder, log] = [identityHolder(clock.now), recordedLog()];
  const config = readConfig({ args: ["--ca", served.url, "--trust-domain", "east", "--root", path("roots.pem"), "--revocation-poll", "1s", ...args], env });
  const keeper = startIdentity({ config, holder, clock, random: Math.random, log, metrics: createMetrics() });
  closing.push(() => keeper.stop());
  return { holder, keeper, log };
}

const identityOf = async (workload: Workload): Promise<string> => {
  await changed(workload.holder, () => workload.holder.identity() !== undefined);
  const { id, serialNumber } = workload.holder.identity()!;
  return `${id.uri} by ${(await served.ca.store.certificate(serialNumber))?.attestation}`;
};

test("a pod gets its identity by its projected token, another by the token that the kubelet put in its place, and none once it is deleted", async () => {
  const tokenFile = path("token");
  writeFileSync(tokenFile, await cluster.token({ pod: "cart-1", audience: "spiffe://west" }));
  const pod = start(["--attest", "kubernetes", "--token-file", tokenFile, "--state-dir", path("state")]);
  await expect.poll(() => pod.keeper.unready(), { timeout: 20_000 }).toMatch(/not for the audience spiffe:\/\/east/);

  writeFileSync(tokenFile, await cluster.token({ pod: "cart-1" }));
  expect(await identityOf(pod)).toBe("spiffe://east/ns/shop/sa/cart by kubernetes");
  await changed(pod.holder, () => pod.holder.trust() !== undefined && pod.holder.policy() !== undefined);
  expect(pod.keeper.unready()).toBeUndefined();

  // Its certificate is revoked: it attests anew, by itself.
  const { serialNumber } = pod.holder.identity()!;
  await served.ca.revoke(serialNumber, "keyCompromise", { actor: "token:test", name: "test", role: "admin", scope: ["spiffe://east/*"] });
  await changed(pod.holder, () => pod.holder.identity()?.serialNumber !== serialNumber);
  expect(await identityOf(pod)).toBe("spiffe://east/ns/shop/sa/cart by kubernetes");

  // The pod is deleted, and somebody has kept its token.
  cluster.deletedPods.add("cart-1");
  const thief = start(["--attest", "kubernetes", "--token-file", tokenFile]);
  await expect.poll(() => thief.keeper.unready(), { timeout: 20_000 }).toMatch(/its pod or service account was deleted/);
  expect(pod.log.text() + thief.log.text()).not.toMatch(/eyJ[A-Za-z0-9_-]{20}/);
});

test("a task on AWS gets its identity by a role, whose credentials come from the container's agent, a pod by those for its service account's token, and another role gets none", async () => {
  const callers = ["web", "batch"].map((role) => ({
    accessKeyId: `ASIA0${role.toUpperCase()}0COUNTERSIGN`, secretAccessKey: `secret-of-${role}`, sessionToken: `session-of-${role}`, account: "123456789012",
    arn: `arn:aws:sts::123456789012:assumed-role/${role}/task-1`, userId: `AROA${role.toUpperCase()}:task-1`,
  }));
  serveSts(aws, callers, "eu-test-1", Date.now);
  const roleArn = "arn:aws:iam::123456789012:role/web";
  const agent = createServer((request, response) => {
    const { method, url = "" } = request;
    if (method === "POST") return void text(request).then((body) => response.end(webIdentityAnswer([{ token: "eyJ.of.web", roleArn, ...callers[0]! }], new URLSearchParams(body)).text));
    const { accessKeyId, secretAccessKey, sessionToken } = callers.find(({ arn }) => arn.includes(`role${url}/`))!;
    response.end(JSON.stringify({ AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: sessionToken }));
  }).listen(0, "127.0.0.1");
  await once(agent, "listening");
  closing.push(() => agent.close(), () => agent.closeAllConnections());
  const task = (role: string): Workload => start(["--attest", "aws-iam", "--aws-region", "eu-test-1", "--aws-endpoint", aws.url], {
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://127.0.0.1:${(agent.address() as AddressInfo).port}/${role}`,
  });
  expect(await identityOf(task("web"))).toBe("spiffe://east/aws/123456789012/role/web by aws-iam");
  writeFileSync(path("web-identity"), "eyJ.of.web\n");
  const pod = start(["--attest", "aws-iam", "--aws-region", "eu-test-1", "--aws-endpoint", aws.url], {
    AWS_ROLE_ARN: roleArn, AWS_WEB_IDENTITY_TOKEN_FILE: path("web-identity"), AWS_ENDPOINT_URL_STS: `http://127.0.0.1:${(agent.address() as AddressInfo).port}`,
  });
  expect(await identityOf(pod)).toBe("spiffe://east/aws/123456789012/role/web by aws-iam");
  const batch = task("batch");
  await expect.poll(() => batch.keeper.unready(), { timeout: 20_000 }).toMatch(/no rule of the attestor "aws" is for it: it would need another role/);
  expect(batch.log.text()).not.toMatch(/secret-of|session-of/);
});

test("a host that has a certificate of the PKI before gets its identity by that", async () => {
  const leaf = old.leaf({ subject: name("db-1"), names: [dns("db-1.old.example")], notBeforeMs: nowMs - 3_600_000, notAfterMs: nowMs + 3_600_000 });
  writeFileSync(path("cert.pem"), encodePem("CERTIFICATE", leaf.der));
  writeFileSync(path("key.pem"), leaf.privateKeyPem);
  expect(await identityOf(start(["--attest", "x509", "--cert-file", path("cert.pem"), "--key-file", path("key.pem")]))).toBe("spiffe://east/old/db-1 by x509");
});
