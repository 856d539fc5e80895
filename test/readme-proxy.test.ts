import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Metadata } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startCluster, type Cluster } from "./support/cluster.ts";
import { startMesh, type Mesh } from "./support/mesh.ts";
import { programAvailable } from "./support/programs.ts";
import { startWalk, type Walk } from "./support/walk.ts";
import { workloadClient } from "./support/workload-client.ts";

const hasCurl = programAvailable("curl");
if (!hasCurl) console.warn("SKIPPED: the commands of proxy/README.md (package curl)");

/** Its part on interception is followed by test/e2e/transparent.test.ts. */
describe.runIf(hasCurl)("what proxy/README.md tells to type", () => {
  const folder = mkdtempSync(join(tmpdir(), "countersign-readme-proxy-"));
  const reloads: string[] = [];
  let cluster: Cluster;
  let mesh: Mesh;
  let app: Server;
  let walk: Walk;
  beforeAll(async () => {
    cluster = await startCluster(() => new Date());
    const { platform, ownTokenFile } = cluster;
    const config = join(folder, "east.json");
    writeFileSync(config, JSON.stringify({ attestors: { cluster: { type: "kubernetes", api: platform.url, caFile: platform.caFile, tokenFile: ownTokenFile } } }));
    mesh = await startMesh({ flags: { config } });
    app = createServer(({ headers }, response) => response.end(`${headers["countersign-client-id"]}\n`)).listen(0, "127.0.0.1");
    await once(app, "listening");
    const world = await mesh.proxy("ns/shop/sa/world", "--outbound", "off", "--app", `127.0.0.1:${(app.address() as AddressInfo).port}`);
    const token = join(folder, "token");
    writeFileSync(token, await cluster.token({ serviceAccount: "till", pod: "till-1" }));
    walk = await startWalk({
      document: "proxy/README.md",
      env: { COUNTERSIGN_URL: mesh.served.url, COUNTERSIGN_DATA_DIR: join(mesh.folder, "ca") },
      standIns: { nginx: (args) => (reloads.push(args.join(" ")), "") },
      instead: {
        "world=10.0.0.7:4143": `world=${world.inbound[0]}`,
        "https://ca.east.example:8443": mesh.served.url,
        "/var/run/secrets/countersign/token ": `${token} 2> till.log & `,
        "/etc/nginx/tls": "tls",
        "-s reload' ...": "-s reload' --bootstrap-file till.join --outbound off 2> nginx.log &",
        "--workload-socket /run/countersign/workload.sock ...": "--workload-socket $PWD/workload.sock --bootstrap-file till.join --inbound off --outbound off 2> workload.log &",
        "unix:///run/countersign/": "unix://$PWD/",
        "'*.west=10.1.0.9:4143'": "'*.west=10.1.0.9:4143' 2> gateway.log &",
      },
    });
    writeFileSync(join(walk.folder, ".curlrc"), "no-progress-meter\nfail\nretry = 60\nretry-delay = 1\nretry-all-errors\n");
  });
  afterAll(async () => {
    await walk?.close();
    await mesh?.close();
    app?.close();
    await cluster?.close();
    rmSync(folder, { recursive: true });
  });

  const token = () => walk.run("umask 077; countersign token create --id spiffe://east/ns/shop/sa/till > till.join 2> said");
  /** One after the other: they listen where one does by default. */
  afterEach(() => walk.run("kill %% && wait"));

  test("an identity by one string, and a call under it", { timeout: 60_000 }, async () => {
    const said = await walk.follow("countersign-proxy", 0);
    expect(said).toMatch(/^spiffe:\/\/east\/ns\/shop\/sa\/cart$/m);
    expect(said).toContain('"spiffe://east/ns/shop/sa/cart"');
  });

  test("an identity for which the platform vouches", { timeout: 60_000 }, async () => {
    await walk.follow("countersign-proxy", 1);
    const admin = `http://127.0.0.1:${walk.port(4191)}`;
    expect(await walk.run(`curl ${admin}/readyz ${admin}/identity`)).toContain('"spiffe://east/ns/shop/sa/till"');
  });

  test("a gateway that knows where names lead", { timeout: 60_000 }, async () => {
    await walk.follow("Into another cluster");
    const routes = await walk.run(`curl -s http://127.0.0.1:${walk.port(4191)}/routes`);
    expect(JSON.parse(routes)).toEqual({ "world.default.west": { host: "10.1.0.7", port: 4143 }, "*.west": { host: "10.1.0.9", port: 4143 } });
  });

  test("files for a web server, which is told of them", { timeout: 60_000 }, async () => {
    await token();
    await walk.follow("Files, for a server that does TLS itself");
    await expect.poll(() => reloads, { timeout: 30_000, interval: 100 }).toEqual(["-s reload"]);
    expect(await walk.run("ls tls")).toBe("bundle.pem\ncert.pem\nfederated\nkey.pem\n");
  });

  test("the identity for a program that asks for it itself", { timeout: 60_000 }, async () => {
    await token();
    await walk.run('app() { until curl -s http://127.0.0.1:$ADMIN/readyz > ready; do sleep 0.1; done; echo "$SPIFFE_ENDPOINT_SOCKET"; }'.replace("$ADMIN", String(walk.port(4191))));
    const said = await walk.follow("SPIFFE Workload API");
    const [, socket = ""] = /^unix:\/\/(.*)$/m.exec(said) ?? [];
    const client = workloadClient(socket);
    const metadata = new Metadata();
    metadata.set("workload.spiffe.io", "true");
    const stream = client["FetchX509SVID"]!({}, metadata) as NodeJS.EventEmitter & { cancel(): void };
    stream.on("error", () => undefined);
    const [{ svids }] = await once(stream, "data") as [{ svids: { spiffe_id: string }[] }];
    expect(svids.map(({ spiffe_id: id }) => id)).toEqual(["spiffe://east/ns/shop/sa/till"]);
    stream.cancel();
    client.close();
  });
});
