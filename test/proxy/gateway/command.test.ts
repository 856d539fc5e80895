import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runGateway } from "../../../proxy/gateway/command.ts";
import { eastIssuer, portOf } from "../../support/data-path.ts";
import { readAll, tlsClient, tlsServer } from "../../support/tcp.ts";

async function run(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: "", err: "" };
  const code = await runGateway(args, { out: (text) => void (said.out += text), err: (text) => void (said.err += text) });
  return { code, ...said };
}

test("--help says what it does, in 80 columns", async () => {
  const { code, out } = await run("--help");
  expect(code).toBe(0);
  expect(out).toContain("--route NAME=ADDRESS:PORT");
  expect(out.split("\n").filter((line) => line.length > 80)).toEqual([]);
});

test.each([
  [[], "at least one"],
  [["--route", "world"], "is not NAME=ADDRESS:PORT"],
  [["--route", "w*.west=127.0.0.1:1"], "is not NAME=ADDRESS:PORT"],
  [["--route", "world=127.0.0.1"], "is not NAME=ADDRESS:PORT"],
  [["--route", "world=127.0.0.1:1", "--listen", "4143"], "--listen 4143 is not HOST:PORT"],
  [["--route", "world=127.0.0.1:1", "--max-connections", "0"], "a number above 0"],
  [["--rout", "world=127.0.0.1:1"], "--rout"],
] as const)("a wrong command line is refused in words: %j", async (args, words) => {
  const { code, err } = await run(...args);
  expect(code).toBe(2);
  expect(err).toContain(words);
});

test("the program passes connections on, shows its routes, and drains when asked to stop", async () => {
  const leaf = eastIssuer.leaf({ spiffeId: "spiffe://east/hello" });
  const world = await tlsServer(leaf, (socket) => socket.end("world"));
  const child = spawn(process.execPath, [proxy, "gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--route", `world.west=127.0.0.1:${world.port}`], { stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(child, "exit");
  const [line] = await once(child.stderr.setEncoding("utf8"), "data") as [string];
  const { listen, admin, metrics } = JSON.parse(line) as { listen: string; admin: string; metrics: string };
  const client = await tlsClient(portOf(listen), { leaf, servername: "world.west" });
  expect(String((await readAll(client)).bytes)).toBe("world");
  client.destroy();
  expect(await (await fetch(`http://${admin}/routes`)).json()).toEqual({ "world.west": { host: "127.0.0.1", port: world.port } });
  expect(await (await fetch(`http://${admin}/metrics`)).text()).toContain('gateway_connections_total{route="world.west"} 1');
  expect(await (await fetch(`http://${metrics}/metrics`)).text()).toContain('gateway_connections_total{route="world.west"} 1');
  expect((await fetch(`http://${metrics}/routes`)).status).toBe(404);
  child.kill("SIGTERM");
  expect(await exited).toEqual([0, null]);
  await world.close();
});

const proxy = fileURLToPath(new URL("../../../proxy/main.ts", import.meta.url));
