import type { ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { programs } from "../../infra/demo/processes.ts";
import { canMakeNetworks, makeNetwork, printed, stopped, type TestHost, type TestNetwork } from "../support/network.ts";
import { startWalk } from "../support/walk.ts";

const possible = canMakeNetworks();
if (!possible) console.warn("SKIPPED: transparent mode on hosts of its own needs root, `ip netns` and nft (packages iproute2, nftables, iptables, tcpdump)");

describe.skipIf(!possible)("three hosts whose apps know of no proxy", () => {
  const folder = mkdtempSync(join(tmpdir(), "countersign-transparent-"));
  const running: ChildProcess[] = [];
  let network: TestNetwork;
  let [ca, east, west]: TestHost[] = [];

  beforeAll(async () => {
    network = makeNetwork("ca", "east", "west");
    [ca, east, west] = [network.hosts["ca"]!, network.hosts["east"]!, network.hosts["west"]!];
    const start = async (host: TestHost, args: readonly string[], until: readonly string[], env: Record<string, string> = {}): Promise<void> => {
      const child = host.start(process.execPath, args, env);
      running.push(child);
      await printed(child, ...until);
    };
    await start(ca, [program("ca"), "serve", "--data-dir", join(folder, "ca"), "--listen", `${ca.address}:8443`], ["serving"]);
    // The app answers with who called; the second one speaks first, the third is for its own host only.
    await start(west, ["-e", app], ["listening"]);
    for (const host of [west, east]) {
      const bootstrap = tokenFor(host);
      const goals = [...[8080, 8082, 9000, 9999, 4143].map((port) => `${west!.address}:${port}`), ...(west!.address6 === undefined ? [] : [`[${west!.address6}]:8080`])];
      const routes = host === east ? goals.flatMap((goal) => ["--route", `${goal}=${goal},${idOf(west!)}`]) : [];
      await start(host, [
        program("proxy"), "--app", "127.0.0.1:1", "--outbound", "off", "--admin", "127.0.0.1:4191", "--metrics", "*:4192", "--transparent", "localhost:4141", "--opaque-ports", "9000", ...routes,
      ], ["revocations in force", "policy in force"], { COUNTERSIGN_BOOTSTRAP: bootstrap });
      intercept(host, "install", "--proxy-user", "0");
    }
  }, 120_000);

  afterAll(async () => {
    await Promise.all(running.map(stopped));
    network.remove();
    rmSync(folder, { recursive: true });
  });

  const tokenFor = (host: TestHost): string => ca!.run(process.execPath, [program("ca"), "token", "create", "--id", idOf(host)], {
    COUNTERSIGN_DATA_DIR: join(folder, "ca"), COUNTERSIGN_URL: `https://${ca!.address}:8443`,
  }).trim();

  const intercept = (host: TestHost, ...args: readonly string[]): string => host.run(process.execPath, [program("proxy"), "intercept", ...args]);

  /** As a user that is not the proxy's, with an empty environment. */
  const asApp = (host: TestHost, command: string, ...args: readonly string[]): string =>
    host.run("setpriv", ["--reuid", "65534", "--regid", "65534", "--clear-groups", command, ...args]);

  test("talk as if there were none, and between the hosts there is TLS and not one byte of what they say", async () => {
    const file = join(folder, "wire.pcap");
    const capture = network.wire.start("tcpdump", ["-i", "east", "-U", "-Z", "root", "-w", file]);
    await printed(capture, "listening on");
    const check = network.wire.start(process.execPath, [program("proxy"), "verify-wire", "--interface", "east", "--seconds", "8", "--port", "8080,9000,4143"]);
    let report = "";
    check.stdout!.setEncoding("utf8").on("data", (text: string) => (report += text));
    await printed(check, "Looking at");

    const answer = asApp(east!, "curl", "-sS", "-d", `question=${marker}`, `http://${west!.address}:8080/`);
    expect(answer).toBe(`hello ${idOf(east!)}, you said question=${marker}`);
    // By IPv6, too.
    if (west!.address6 === undefined) console.warn("SKIPPED: redirection of IPv6, which this machine does not have");
    else expect(asApp(east!, "curl", "-sS", "-d", marker, `http://[${west!.address6}]:8080/`)).toBe(`hello ${idOf(east!)}, you said ${marker}`);
    const greeted = asApp(east!, "bash", "-c", `exec 3<>/dev/tcp/${west!.address}/9000; head -n 1 <&3; echo "${marker}" >&3; head -n 1 <&3`);
    expect(greeted).toBe(`greeting ${marker}\nechoed ${marker}\n`);

    const code = await new Promise((resolve) => check.once("close", resolve));
    await stopped(capture);
    const captured = readFileSync(file);
    expect(captured.includes(marker)).toBe(false);
    // An application data record of TLS 1.3 by its header.
    expect(captured.includes(Buffer.of(0x17, 0x03, 0x03))).toBe(true);
    expect(report).toMatch(/8080 .* tls\n/);
    expect(report).toMatch(/9000 .* tls\n/);
    if (west!.address6 !== undefined) expect(report).toMatch(/fd77::3\S*8080 .* tls\n/);
    expect(code, report).toBe(0);
  }, 120_000);

  test("speak HTTP/2 by prior knowledge", () => {
    expect(asApp(east!, "curl", "-sSf", "--http2-prior-knowledge", "-H", "countersign-client-id: spiffe://x/admin", `http://${west!.address}:8082/`)).toBe(`hello ${idOf(east!)}`);
  });

  test("reach nothing for which no route names who must answer", () => {
    expect(() => asApp(east!, "curl", "-sS", "-k", "--max-time", "5", `https://${ca!.address}:8443/healthz`)).toThrow(/reset|Recv failure|SSL_ERROR|connect to server/);
  });

  test("reach nothing that listens for its own host only", () => {
    expect(() => asApp(east!, "curl", "-sSf", "--max-time", "5", `http://${west!.address}:9999/`)).toThrow(/502/);
  });

  test("reach the app that its proxy has where they go to the proxy itself, which is no way into the proxy again", () => {
    expect(asApp(east!, "curl", "-sS", `http://${west!.address}:4143/`)).toContain("502: the app behind this proxy, 127.0.0.1:1,");
  });

  test("reach directly what is left out of the interception, by port or by address", () => {
    const elsewhere = (): string => asApp(east!, "curl", "-sS", "-k", "--max-time", "5", `https://${ca!.address}:8443/healthz`);
    for (const left of [["--skip-outbound-ports", "8443"], ["--skip-addresses", `${ca!.address}/32,fd00:1::/32`]]) {
      intercept(east!, "install", "--proxy-user", "0", ...left);
      expect(() => elsewhere(), left.join(" ")).not.toThrow();
      expect(asApp(east!, "curl", "-sS", `http://${west!.address}:8080/`)).toContain(`hello ${idOf(east!)}`);
    }
    intercept(west!, "install", "--proxy-user", "0", "--skip-inbound-ports", "8083");
    intercept(east!, "install", "--proxy-user", "0", "--skip-outbound-ports", "8083");
    expect(asApp(east!, "curl", "-sS", `http://${west!.address}:8083/`)).toBe("hello undefined, you said ");
  });

  test("are scraped where metrics are open and left out of the interception, and nothing else of the admin listener is reached", () => {
    const scraper = (port: number, path: string): string => ca!.run("curl", ["-sSf", "--max-time", "5", `http://${west!.address}:${port}${path}`]);
    intercept(west!, "install", "--proxy-user", "0");
    expect(() => scraper(4192, "/metrics")).toThrow(/reset|Empty reply|Recv failure/);
    intercept(west!, "install", "--proxy-user", "0", "--skip-inbound-ports", "4191,4192");
    expect(scraper(4192, "/metrics")).toContain("identity_cert_expiration_timestamp_seconds ");
    expect(scraper(4192, "/readyz")).toBe("ready\n");
    for (const path of ["/identity", "/edges", "/tap"]) expect(() => scraper(4192, path)).toThrow(/404/);
    expect(() => scraper(4191, "/identity")).toThrow(/Failed to connect|refused|connect to server/);
  });

  test("are intercepted by iptables where there is no nft, and by nothing once that is removed", () => {
    const withoutNft = join(folder, "without-nft");
    mkdirSync(withoutNft);
    for (const name of ["iptables", "iptables-restore", "ip6tables", "ip6tables-restore"]) symlinkSync(`/usr/sbin/${name}`, join(withoutNft, name));
    const byIptables = (host: TestHost, ...args: readonly string[]): string => host.run("env", [`PATH=${withoutNft}`, process.execPath, program("proxy"), "intercept", ...args]);
    for (const host of [east!, west!]) {
      intercept(host, "remove");
      expect(() => byIptables(host, "status")).toThrow();
      // Twice: it replaces what there is.
      for (let time = 0; time < 2; time++) expect(byIptables(host, "install", "--proxy-user", "0", "--skip-outbound-ports", "8443")).toContain("Installed by iptables");
      expect(byIptables(host, "status").match(/-j COUNTERSIGN_OUTBOUND/g)?.length).toBe(host.address6 === undefined ? 1 : 2);
    }
    expect(asApp(east!, "curl", "-sS", `http://${west!.address}:8080/`)).toContain(`hello ${idOf(east!)}`);
    if (west!.address6 !== undefined) expect(asApp(east!, "curl", "-sS", `http://[${west!.address6}]:8080/`)).toContain(`hello ${idOf(east!)}`);
    expect(() => asApp(east!, "curl", "-sS", "-k", "--max-time", "5", `https://${ca!.address}:8443/healthz`)).not.toThrow();
    byIptables(east!, "remove");
    byIptables(east!, "remove");
    expect(() => byIptables(east!, "status")).toThrow();
    expect(east!.run("iptables-save", ["-t", "nat"])).not.toContain("COUNTERSIGN");
    // The other one is left for nft to remove, as after an upgrade of the host.
    expect(intercept(west!, "install", "--proxy-user", "0")).toContain("Installed by nft");
    expect(west!.run("iptables-save", ["-t", "nat"])).not.toContain("COUNTERSIGN");
  }, 90_000);

  test("are set up by the commands of the proxy's README", async () => {
    await stopped(running.pop()!);
    const goal = `${west!.address}:8080`;
    const users: string[] = [];
    const walk = await startWalk({
      document: "proxy/README.md", enter: ["ip", "netns", "exec", east!.namespace], standIns: { useradd: (args) => (users.push(args.at(-1)!), "") },
      instead: {
        "10.0.0.7:8080=10.0.0.7:8080,spiffe://east/ns/shop/sa/world' ...": `${goal}=${goal},${idOf(west!)}' --bootstrap-file east.join 2> proxy.log &
          until grep -q 'policy in force' proxy.log; do sleep 0.1; done`,
        "--proxy-user countersign-proxy": "--proxy-user 0",
        "countersign-proxy verify-wire --interface eth0 --port 8080": `countersign-proxy verify-wire --interface eth0 --port 8080 --seconds 6 &> wire &
          until grep -q 'Looking at' wire; do sleep 0.1; done
          setpriv --reuid 65534 --regid 65534 --clear-groups curl -sS http://${goal}/
          wait $!; cat wire`,
      },
    });
    try {
      writeFileSync(join(walk.folder, "east.join"), tokenFor(east!), { mode: 0o600 });
      const said = await walk.follow("No setting in the app");
      expect(users).toEqual(["countersign-proxy"]);
      expect(said).toContain(`hello ${idOf(east!)}`);
      expect(said).toMatch(/8080 .* tls\n/);
    } finally {
      await walk.close();
    }
  }, 120_000);

  test("speak plainly again when the interception is removed, which verify-wire sees", async () => {
    for (const host of [east!, west!]) host.run(process.execPath, [program("proxy"), "intercept", "remove"]);
    const check = network.wire.start(process.execPath, [program("proxy"), "verify-wire", "--interface", "east", "--seconds", "5"]);
    let report = "";
    check.stdout!.setEncoding("utf8").on("data", (text: string) => (report += text));
    await printed(check, "Looking at");
    expect(asApp(east!, "curl", "-sS", "-d", marker, `http://${west!.address}:8080/`)).toContain("hello undefined");
    expect(await new Promise((resolve) => check.once("close", resolve)), report).toBe(1);
    expect(report).toContain("plaintext");
  }, 120_000);
});

const program = (name: "ca" | "proxy"): string => fileURLToPath(new URL(`../../${programs[name]}`, import.meta.url));
const idOf = (host: TestHost): string => `spiffe://countersign.local/host/${host.namespace}`;
const marker = "PLAINTEXT-MARKER-1f0c";
const app = `
  const { createServer } = require("node:http"), net = require("node:net");
  createServer((request, response) => {
    let text = "";
    request.on("data", (data) => (text += data)).on("end", () => response.end("hello " + request.headers["countersign-client-id"] + ", you said " + text));
  }).listen(8080, "::").on("error", () => {}).once("error", function () { this.listen(8080, "0.0.0.0"); });
  createServer((request, response) => response.end("hello " + request.headers["countersign-client-id"] + ", you said ")).listen(8083, "0.0.0.0");
  require("node:http2").createServer().on("stream", (stream, headers) => stream.end("hello " + headers["countersign-client-id"])).listen(8082, "0.0.0.0");
  net.createServer((socket) => { socket.write("greeting ${marker}\\n"); socket.on("data", (data) => socket.write("echoed " + data)); }).listen(9000, "0.0.0.0");
  createServer((request, response) => response.end("private")).listen(9999, "127.0.0.1", () => console.log("listening"));
`;
