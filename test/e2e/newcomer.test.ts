import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { awsCli } from "../support/aws-cli.ts";
import { kubectl, linkerdCli } from "../support/kubectl.ts";
import { startKmsServer, type KmsServer } from "../support/kms-server.ts";
import { startKubernetesApi, type KubernetesApi } from "../support/kubernetes-api.ts";
import { createDatabase } from "../support/postgres.ts";
import { programAvailable } from "../support/programs.ts";
import { dns, ip, testAuthority } from "../support/test-ca.ts";
import { startWalk, type Walk } from "../support/walk.ts";

// In order, as it stands in the README; each test goes on where the one before ended.
describe.runIf(programAvailable("curl") && programAvailable("openssl"))("a newcomer who follows the README has in turn", () => {
  let walk: Walk;
  let database: string;
  const east = "--data-dir east";
  let west: string;
  // What a cloud, a cluster and a web server are for the README's commands.
  let aws: KmsServer;
  let kubernetes: KubernetesApi;
  let web: Server;
  beforeAll(async () => {
    database = await createDatabase();
    aws = await startKmsServer();
    const authority = testAuthority({ trustDomain: "web" });
    const { privateKeyPem: key, chainPem: cert } = authority.leaf({ names: [dns("localhost"), ip(127, 0, 0, 1)] });
    kubernetes = await startKubernetesApi({ key, cert }, "token");
    web = createServer({ key, cert }, ({ url }, response) => response.end(readFileSync(join(walk.folder, "hub", url!.slice(1))))).listen(0, "127.0.0.1");
    await once(web, "listening");
    walk = await startWalk({
      database, env: { COUNTERSIGN_FEDERATION_WEB_ROOTS: "web.pem" },
      instead: {
        "https://hub.example/": `https://localhost:${(web.address() as AddressInfo).port}/`,
        "--token-file linkerd-token 2>": `--token-file linkerd-token --kube-url ${kubernetes.url} --kube-token-file kube-token --kube-ca-file web.pem 2>`,
      },
      standIns: { aws: awsCli(aws), kubectl: kubectl(kubernetes), linkerd: linkerdCli },
    });
    writeFileSync(join(walk.folder, "web.pem"), authority.pem);
    writeFileSync(join(walk.folder, "kube-token"), "token");
    west = `--data-dir west --url https://127.0.0.1:${walk.port(9443)}`;
  });
  afterAll(async () => {
    await walk?.close();
    await kubernetes?.close();
    await aws?.close();
    web?.closeAllConnections();
    web?.close();
  });

  test("a CA on Postgres with two replicas, of which both are well", { timeout: 60_000 }, async () => {
    const said = await walk.follow("Postgres and replicas");
    expect(linesNotWell(said)).toEqual([]);
    expect(said.match(/^All is well: √$/gm)).toHaveLength(3);
  });

  test("a CA whose root is in KMS, which is well", { timeout: 60_000 }, async () => {
    const said = await walk.follow("Keys in KMS");
    expect(linesNotWell(said)).toEqual([]);
    expect(said).toMatch(/^√ root \w+ \(kms\) has its key at hand/m);
    const made = (alias: string) => aws.keys.byId.get(aws.keys.aliases.get(alias) ?? "");
    expect(made("alias/west-root")).toMatchObject({ spec: "ECC_NIST_P384", usage: "SIGN_VERIFY" });
    expect(made("alias/west-sealing")).toMatchObject({ spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT" });
  });

  test("both federated, and an app that calls one in the other cluster under its own name", { timeout: 60_000 }, async () => {
    const said = await walk.follow("Join two clusters");
    expect(said).toMatch(/^spiffe:\/\/east\.example\/ns\/default\/sa\/hello$/m);
    expect(said).toContain("believe each other's workloads");
    expect(said).toContain("this CA: is in it");
  });

  test("countersign check all √, with both sides in it", { timeout: 60_000 }, async () => {
    for (const [ca, peer] of [[east, "west.example"], [west, "east.example"]] as const) {
      const said = await walk.run(`until countersign check ${ca} --strict > said; do sleep 0.3; done; cat said`);
      expect(linesNotWell(said)).toEqual([]);
      expect(said).toContain(`√ the bundle of ${peer} is there and up to date`);
    }
  });

  test("the dashboard open, with all of it in view", { timeout: 60_000 }, async () => {
    await signIn("east", east);
    expect(await page("east", "/ui")).toContain("All is well");
    expect(await page("east", "/ui/workloads")).toContain("/ns/default/sa/hello");
    expect(await page("east", "/ui/federation")).toContain("west.example");
    await expect.poll(() => page("east", "/ui/edges"), seen).toContain("/ns/default/sa/hello");
    const overview = await page("east", "/ui");
    for (const replica of [8443, 8444]) expect(overview).toContain(`${hostname()}:${walk.port(replica)}`);
    expect(await page("east", "/ui/trust")).toContain("in the store, sealed");
    await signIn("west", west);
    const keys = await page("west", "/ui/trust");
    expect(keys).toMatch(/root .*AWS KMS.*arn:aws:kms:.*at hand.*issuer /s);
    expect(keys).toMatch(/what seals the keys.*AWS KMS.*arn:aws:kms:/s);
  });

  test("Linkerd's issuer, and a token that can have no other", { timeout: 60_000 }, async () => {
    await walk.follow("Replace Linkerd's identity issuer");
    const inSecret = Buffer.from(kubernetes.secrets.get("linkerd/linkerd-identity-issuer")!.data["tls.crt"]!, "base64").toString();
    writeFileSync(join(walk.folder, "linkerd.pem"), inSecret);
    expect(await walk.run("openssl verify -CAfile ca.crt linkerd.pem")).toBe("linkerd.pem: OK\n");
    await expect.poll(() => kubernetes.requests, seen).toContain("GET /api/v1/namespaces/linkerd/secrets/linkerd-identity-issuer");
    const other = await walk.run(`countersign issuer issue ${east} --token-file linkerd-token --trust-domain other.local 2>&1 || true`);
    expect(other).toContain("(forbidden)");
  });

  test("what there is to look at where something is wrong", { timeout: 60_000 }, async () => {
    // The proxies report what is new within seconds.
    await walk.run(`until countersign edges ${east} 2> /dev/null | grep 'hello .*world .*mutual TLS'; do sleep 0.3; done`);
    const said = await walk.follow("Find what is wrong");
    expect(said).toMatch(/hello .*world .*√ mutual TLS/);
    expect(said).toContain("allow by world/1");
    expect(said).toMatch(/^√ The audit log .* fits\.$/m);
  });

  test("who could be a workload, and the proof of what was issued", { timeout: 60_000 }, async () => {
    const said = await walk.follow("What was issued");
    expect(said).toMatch(/^[0-9a-f]{36} +valid .*\s+\/ns\/default\/sa\/hello$/m);
    expect(said).toContain("1, contained in this log");
    expect(said).toMatch(/^√ The audit log .* fits\.$/m);
  });

  test("everything replaced of which a thief may know, and a CA that is well", { timeout: 120_000 }, async () => {
    const said = await walk.follow("After a compromise");
    expect(said).toMatch(/is revoked \(keyCompromise\)/);
    expect(said.match(/^What it signed is refused from now on\.$/gm)).toHaveLength(2);
    // West has the new bundle soon; the proxy that was stopped is told of for some minutes more.
    await walk.run(`until { countersign check ${east} -o short || true; } > said; ! grep '^[×‼]' said | grep -v "every proxy's certificate"; do sleep 0.3; done`);
  });

  test("a cluster more, below the same root", { timeout: 60_000 }, async () => {
    expect(await walk.follow("One root for many clusters")).toContain("All is well: √");
  });

  test("three things broken, of which check and the dashboard say which", { timeout: 90_000 }, async () => {
    await walk.run("kill %?demo-kms");
    expect(linesNotWell(await walk.run(`countersign check ${west} || true`))).toEqual([expect.stringMatching(/^× root \w+ \(kms\) has its key at hand/)]);
    await expect.poll(() => notSo("west"), seen).toContainEqual(expect.stringMatching(/^root \w+ \(kms\) has its key at hand/));

    await walk.run("kill '%?--data-dir west'");
    await walk.run(`until { countersign check ${east} -o short || true; } | grep '^‼ the bundle of west.example'; do sleep 0.3; done`);
    await expect.poll(() => notSo("east"), seen).toContainEqual(expect.stringContaining("the bundle of west.example"));

    const client = new pg.Client({ connectionString: database });
    await client.connect();
    // Both look at the newest entry, and another may come at any moment.
    const altered = (look: () => Promise<readonly string[]>) => async () => {
      await client.query("update audit_entries set body = body || ' ' where idx = (select max(idx) from audit_entries)");
      return look();
    };
    await expect.poll(altered(async () => linesNotWell(await walk.run(`countersign check ${east} || true`))), seen).toContainEqual(expect.stringMatching(/^× the newest checkpoint is signed/));
    await expect.poll(altered(() => notSo("east")), seen).toContainEqual(expect.stringMatching(/^the newest checkpoint is signed/));
    await client.end();
    expect(await walk.run(`countersign audit verify ${east} --store '${database}' || true`)).toMatch(/× /);
  });

  async function signIn(name: string, ca: string): Promise<void> {
    await walk.run(`link=$(countersign dashboard ${ca} 2> /dev/null); ${name}=\${link%/ui/*}
      curl -sSf --cacert ${name}/root.pem -c ${name}.jar -H "origin: $${name}" -X POST "$link" > /dev/null`);
  }

  /** What the overview says is not so. */
  async function notSo(name: string): Promise<readonly string[]> {
    const overview = await page(name, "/ui");
    return [...new Set([...overview.matchAll(/not so: <\/span>([^<]+)</g)].map(([, finding]) => finding!.trim()))];
  }

  function page(name: string, path: string): Promise<string> {
    return walk.run(`curl -sSf --cacert ${name}/root.pem -b ${name}.jar "$${name}${path}"`);
  }
});

/** What the dashboard asks of the stores and keys it remembers for some seconds; so it does what proxies report. */
const seen = { timeout: 20_000, interval: 500 };

/** What `check` and the like have marked as not well. */
function linesNotWell(said: string): readonly string[] {
  return said.split("\n").filter((line) => /^[×‼] /.test(line));
}
