import { readFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { printEdges, type Edge } from "./edges.ts";
import { freePort } from "./place.ts";
import { countersign, startCa, startProcess, startProxy, type RunningCa, type RunningProxy } from "./processes.ts";
import type { Stage } from "./stage.ts";
import { askInbound, forgeIdentity, type Credentials } from "./strangers.ts";

/** A CA, two plain HTTP apps and a proxy for each; then everybody who should be refused. */
export async function showOneCluster({ showing, keep, dataDir, once }: Stage): Promise<void> {
  const { heading, say, step } = showing;
  heading("A certificate authority, from nothing");
  const ca = keep(await startCa({ dataDir, port: await freePort(8443) }));
  say(`listening on ${ca.url}, state in ${dataDir}`);

  heading("Two apps that know nothing of TLS, a proxy beside each");
  const [helloPort, worldPort] = [await freePort(7777), await freePort(7778)];
  const [helloId, worldId] = ["hello", "world"].map((name) => `spiffe://${ca.trustDomain}/ns/default/sa/${name}`) as [string, string];
  keep(startProcess("infra/demo/world.ts", [], { PORT: String(worldPort) }));
  const world = keep(await startProxy({
    bootstrap: await tokenFor(ca, worldId), app: worldPort, ports: await ports(4143, 4140, 4191), env: { COUNTERSIGN_PROXY_REVOCATION_POLL: "1s" },
  }));
  const hello = keep(await startProxy({
    bootstrap: await tokenFor(ca, helloId), app: helloPort, ports: await ports(4243, 4240, 4291),
    args: ["--route", `world=127.0.0.1:${world.inboundPort},${worldId}`],
  }));
  keep(startProcess("infra/demo/hello.ts", [], {
    PORT: String(helloPort), http_proxy: `http://127.0.0.1:${hello.outboundPort}`, NODE_USE_ENV_PROXY: "1",
  }));
  for (const proxy of [hello, world]) {
    const { spiffeId, notAfter } = JSON.parse(await httpGet(proxy.adminPort, "/identity")) as { spiffeId: string; notAfter: string };
    say(`${spiffeId}, valid until ${notAfter}`);
  }

  heading("They talk");
  await step("hello asks world, through mutual TLS", "Hello world", async () => (await httpGetWhenUp(helloPort, "/")).trim());

  heading("Who is refused at world's inbound port");
  await step("plain text", refused, () => answerOf(world, "plain text"));
  await step("TLS without a certificate", refused, () => answerOf(world, {}));
  await step(`a certificate for ${helloId} from another root`, refused, () => answerOf(world, forgeIdentity(helloId)));
  const guestId = `spiffe://${ca.trustDomain}/ns/default/sa/guest`;
  const guest = await issueByHand(ca, guestId, dataDir);
  await step("a certificate of ours, for comparison, is let in", guestId, () => answerOf(world, guest));
  await countersign(ca, "certificate", "revoke", guest.serialNumber, "--reason", "keyCompromise");
  await step("the same one, revoked", refused, () => answerOnceRevoked(world, guest));

  heading("What the proxies saw");
  const edges = await Promise.all([hello, world].map(async (proxy) => JSON.parse(await httpGet(proxy.adminPort, "/edges")) as { edges: Edge[] }));
  printEdges(edges.flatMap((answer) => answer.edges));

  heading("And the CA can prove what it did");
  const verdict = JSON.parse(await countersign(ca, "audit", "verify", "--json")) as { ok: boolean; size: number; checkpoints: number };
  await step(`the audit log, ${verdict.size} entries under ${verdict.checkpoints} signed checkpoints`, "verified", () => (verdict.ok ? "verified" : "does not fit"));

  if (!once) lookAround(ca, hello, helloPort);
}

function lookAround(ca: RunningCa, hello: RunningProxy, helloPort: number): void {
  console.log(`
Look around
  the API, to read     ${ca.url}/docs
  the mesh at work     curl http://127.0.0.1:${helloPort}/
  who hello is         curl http://127.0.0.1:${hello.adminPort}/identity
  what was issued      curl --cacert ${ca.rootPemPath} \\
                         -H "authorization: Bearer $(cat ${ca.adminTokenPath})" \\
                         ${ca.url}/v1/certificates
  the trust bundle     curl --cacert ${ca.rootPemPath} ${ca.url}/v1/bundle
  hello's numbers      curl http://127.0.0.1:${hello.adminPort}/metrics`);
}

/** The body world's app answered, or that nothing came back. */
async function answerOf(world: RunningProxy, tls: Credentials | Record<string, never> | "plain text"): Promise<string> {
  const answer = await askInbound(world.inboundPort, tls);
  if (answer === "") return refused;
  // With chunked coding or not, world's answer to /whoami is the one line that names the caller.
  return answer.split(/\r?\n/).find((line) => line.startsWith("spiffe://")) ?? answer;
}

/** Revocation reaches the proxy with its next poll: asks until it is refused, within a bound. */
async function answerOnceRevoked(world: RunningProxy, guest: Credentials): Promise<string> {
  const deadline = Date.now() + revocationDeadlineMs;
  for (;;) {
    const answer = await answerOf(world, guest);
    if (answer === refused || Date.now() > deadline) return answer;
    await delay(pollMs);
  }
}

async function tokenFor(ca: RunningCa, spiffeId: string): Promise<string> {
  return (await countersign(ca, "token", "create", "--id", spiffeId)).trim();
}

async function issueByHand(ca: RunningCa, spiffeId: string, dataDir: string): Promise<Credentials & { readonly serialNumber: string }> {
  const [cert, key] = [join(dataDir, "guest.pem"), join(dataDir, "guest.key")];
  const printed = await countersign(ca, "certificate", "issue", "--id", spiffeId, "--cert", cert, "--key", key, "-o", "json");
  const { serialNumber } = JSON.parse(printed) as { serialNumber: string };
  return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8"), serialNumber };
}

async function ports(inbound: number, outbound: number, admin: number): Promise<{ inbound: number; outbound: number; admin: number }> {
  return { inbound: await freePort(inbound), outbound: await freePort(outbound), admin: await freePort(admin) };
}

function httpGet(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, path }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk)).on("end", () => resolve(body)).on("error", reject);
    }).on("error", reject);
  });
}

/** The apps have no readiness of their own to wait for but that they answer. */
async function httpGetWhenUp(port: number, path: string): Promise<string> {
  const deadline = Date.now() + appDeadlineMs;
  for (;;) {
    try {
      return await httpGet(port, path);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await delay(pollMs);
    }
  }
}

const refused = "refused";
const revocationDeadlineMs = 10_000;
const appDeadlineMs = 10_000;
const pollMs = 100;
