import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openAttestors } from "../../../ca/attestation/attestors.ts";
import { parseAttestors } from "../../../ca/config/attestors.ts";
import { attestorDeps } from "../../support/attestor.ts";
import { startCluster, type Cluster } from "../../support/cluster.ts";
import { startPlatform, type Platform } from "../../support/platform.ts";
import { testAuthority } from "../../support/test-ca.ts";

let cluster: Cluster;
let platform: Platform;
let deps: ReturnType<typeof attestorDeps>;
beforeEach(async () => {
  deps = attestorDeps({ timeoutMs: 3000 });
  [cluster, platform] = await Promise.all([startCluster(deps.now), startPlatform()]);
  platform.addKey("one");
});
afterEach(async () => {
  deps.close();
  await Promise.all([cluster.close(), platform.close()]);
});

function open(settings: object) {
  const faults: string[] = [];
  const configs = parseAttestors(JSON.stringify({ tested: settings }), "east", faults);
  expect(faults).toEqual([]);
  return openAttestors(configs, { ...deps, store: { spendRequest: async () => true }, onAttested: () => undefined });
}
const look = async (settings: object) => (await open(settings).look())[0];
const reviewing = () => ({ type: "kubernetes", api: cluster.platform.url, caFile: cluster.platform.caFile, tokenFile: cluster.ownTokenFile });
const tokens = () => ({ type: "oidc", issuer: platform.url, caFile: platform.caFile, when: { repository: "acme/*" }, spiffeId: "spiffe://east/ci/{+repository}" });
const signed = () => ({ type: "aws-iam", regions: ["eu-test-1"], endpoint: platform.url, caFile: platform.caFile, when: { account: "123456789012" } });

test("a cluster that reviews tokens for us vouches, and nobody's token was shown to it", async () => {
  expect(await look(reviewing())).toEqual({ name: "tested", type: "kubernetes", vouches: true });
  expect(cluster.platform.requests).toEqual(["POST /apis/authentication.k8s.io/v1/tokenreviews"]);
});

test("one that is away, does not let us, or has another certificate does not, and it is said why", async () => {
  writeFileSync(cluster.ownTokenFile, "another-token\n");
  expect(await look(reviewing())).toMatchObject({ vouches: false, trouble: expect.stringContaining("system:auth-delegator") as string });
  expect(await look({ ...reviewing(), tokenFile: "/nowhere" })).toMatchObject({ vouches: false, trouble: expect.stringContaining("/nowhere cannot be read (ENOENT)") as string });
  expect(await look({ ...reviewing(), caFile: platform.caFile })).toMatchObject({ vouches: false, trouble: expect.stringContaining("no answer from 127.0.0.1") as string });
});

test("an issuer whose keys can be had vouches, and without its discovery document it does not", async () => {
  expect(await look(tokens())).toEqual({ name: "tested", type: "oidc", vouches: true });
  platform.answers.delete("/.well-known/openid-configuration");
  expect(await look(tokens())).toMatchObject({ vouches: false, trouble: expect.stringContaining("openid-configuration answered 404") as string });
});

test("one whose keys were had before vouches for a day, and says what is wrong; once it is back all is well", async () => {
  const attestors = open(tokens());
  await attestors.look();
  const keys = platform.answers.get("/keys")!;
  platform.answers.set("/keys", () => ({ status: 503, text: "" }));
  deps.clock.nowMs += 11 * 60_000;
  expect(await attestors.look()).toMatchObject([{ vouches: true, trouble: expect.stringContaining("/keys answered 503") as string }]);
  platform.answers.set("/keys", keys);
  deps.clock.nowMs += 31_000;
  expect(await attestors.look()).toEqual([{ name: "tested", type: "oidc", vouches: true }]);
  platform.answers.set("/keys", () => ({ status: 503, text: "" }));
  deps.clock.nowMs += 25 * 3_600_000;
  expect(await attestors.look()).toMatchObject([{ vouches: false }]);
});

test("AWS that refuses what nobody signed is there; one that fails is not", async () => {
  platform.answers.set("/", () => ({ status: 403, json: { Error: { Code: "MissingAuthenticationToken" } } }));
  expect(await look(signed())).toEqual({ name: "tested", type: "aws-iam", vouches: true });
  platform.answers.set("/", () => ({ status: 503, text: "" }));
  expect(await look(signed())).toMatchObject({ vouches: false, trouble: expect.stringContaining("answered 503") as string });
  expect(await look({ ...signed(), endpoint: "https://127.0.0.1:1" })).toMatchObject({ vouches: false });
});

test("another PKI's anchors are told with the end of the last of them", async () => {
  const [short, long] = [testAuthority({ trustDomain: "old", notAfterMs: Date.UTC(2027, 0, 1) }), testAuthority({ trustDomain: "old", notAfterMs: Date.UTC(2031, 0, 1) })];
  const anchorsFile = join(platform.folder, "anchors.pem");
  writeFileSync(anchorsFile, long.pem + short.pem);
  expect(await look({ type: "x509", anchorsFile, when: { organizationalUnit: "shop" }, spiffeId: "spiffe://east/old/{commonName}" })).toMatchObject({ vouches: true, notAfter: "2031-01-01T00:00:00.000Z" });
});
