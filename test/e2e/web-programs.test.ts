import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { freePort } from "../../infra/demo/place.ts";
import { startMesh, type Mesh, type MeshProxy } from "../support/mesh.ts";
import { startNginx } from "../support/nginx.ts";
import { programAvailable } from "../support/programs.ts";

const run = promisify(execFile);
const hasNginx = programAvailable("nginx") && programAvailable("curl");
const [hasAb, hasWrk] = [programAvailable("ab"), programAvailable("wrk")];
const [hello, large] = ["hello from nginx\n", randomBytes(3_000_000)];

let mesh: Mesh;
let client: MeshProxy;
let sockets: WebSocketServer;

beforeAll(async () => {
  mesh = await startMesh();
  const web = await freePort();
  if (hasNginx) await serveNginx(web);
  sockets = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(sockets, "listening");
  mesh.atEnd(() => sockets.close());
  sockets.on("connection", (socket, request) => {
    socket.send(`from ${String(request.headers["countersign-client-id"])}`);
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  const world = await mesh.proxy("world", "--outbound", "off", "--app", `127.0.0.1:${web}`);
  const chat = await mesh.proxy("chat", "--outbound", "off", "--app", `127.0.0.1:${(sockets.address() as { readonly port: number }).port}`);
  client = await mesh.proxy(
    "client", "--inbound", "off", "--route", `world=${world.inbound[0]},${world.spiffeId}`, "--route", `chat=${chat.inbound[0]},${chat.spiffeId}`,
    "--tcp", `127.0.0.1:0=${world.inbound[0]},${world.spiffeId}`,
  );
});
afterAll(() => mesh.close());

/** As Debian ships it, in a folder of ours. */
async function serveNginx(port: number): Promise<void> {
  const folder = join(mesh.folder, "nginx");
  mkdirSync(folder, { mode: 0o755 });
  writeFileSync(join(folder, "hello"), hello);
  writeFileSync(join(folder, "large"), large);
  mesh.atEnd(await startNginx(folder, port, `
    listen 127.0.0.1:${port};
    location /who { return 200 "$http_countersign_client_id"; }
    # Takes the body whole, whichever way it comes, and passes it on with its length.
    location /upload { proxy_pass http://127.0.0.1:${port}/received; }
    location /received { return 200 "$content_length"; }`));
}

describe.skipIf(!hasNginx)("nginx as the app", () => {
  const curl = async (...args: readonly string[]): Promise<Buffer> => {
    const { stdout } = await run("curl", ["-sSf", "--max-time", "20", "--proxy", `http://${client.outbound[0]}`, ...args], { encoding: "buffer", maxBuffer: 2 ** 24 });
    return stdout;
  };

  test("curl gets pages, large ones, parts of them, and heads; nginx is told who asks", async () => {
    expect(String(await curl("http://world/hello", "http://world/who"))).toBe(`${hello}${client.spiffeId}`);
    expect((await curl("http://world/large")).equals(large)).toBe(true);
    expect((await curl("-r", "1000-1999", "http://world/large")).equals(large.subarray(1000, 2000))).toBe(true);
    expect(String(await curl("-I", "http://world/large"))).toContain(`Content-Length: ${large.length}`);
    expect(String(await curl("-0", "http://world/hello"))).toBe(hello);
  });

  test("curl uploads by length, in chunks, and waiting for 100-continue", async () => {
    const file = join(mesh.folder, "upload");
    writeFileSync(file, large);
    expect(String(await curl("--data-binary", `@${file}`, "http://world/upload"))).toBe(String(large.length));
    expect(String(await curl("-T", file, "-H", "Expect: 100-continue", "http://world/upload"))).toBe(String(large.length));
    expect(String(await curl("-H", "Transfer-Encoding: chunked", "--data-binary", `@${file}`, "http://world/upload"))).toBe(String(large.length));
  });

  test("curl opens a tunnel and speaks HTTP in it", async () => {
    expect(String(await curl("--proxytunnel", "http://world:80/hello"))).toBe(hello);
  });

  test.skipIf(!hasAb)("ab, with and without keep-alive, fails no request", async () => {
    for (const keepAlive of [["-k"], []]) {
      const { stdout } = await run("ab", ["-q", "-n", "400", "-c", "20", ...keepAlive, "-X", client.outbound[0]!, "http://world/hello"]);
      expect(stdout).toMatch(/Complete requests: +400\nFailed requests: +0\n/);
      expect(stdout).not.toContain("Non-2xx");
    }
  });

  test.skipIf(!hasWrk)("wrk for a second fails no request", async () => {
    const { stdout } = await run("wrk", ["-t1", "-c20", "-d1s", "--timeout", "20s", `http://${client.outbound[1]}/hello`]);
    expect(Number(/(\d+) requests in/.exec(stdout)?.[1])).toBeGreaterThan(0);
    expect(stdout).not.toMatch(/Socket errors|Non-2xx/);
  });
});

describe("a WebSocket", () => {
  test("of ws carries text, binary, large messages and pings, and its close reaches the other side with its code", async () => {
    const [host, port] = client.outbound[0]!.split(":");
    const socket = new WebSocket("ws://chat/room", { createConnection: () => connect({ host: host!, port: Number(port) }) });
    const messages: Buffer[] = [];
    socket.on("message", (data) => messages.push(data as Buffer));
    const received = async (count: number): Promise<Buffer> => {
      while (messages.length < count) await once(socket, "message");
      return messages[count - 1]!;
    };
    expect(String(await received(1))).toBe(`from ${client.spiffeId}`);
    socket.send("hello");
    expect(String(await received(2))).toBe("hello");
    socket.send(large);
    expect((await received(3)).equals(large)).toBe(true);
    const pong = once(socket, "pong");
    socket.ping("are you there");
    expect(String((await pong)[0])).toBe("are you there");
    const [other] = sockets.clients;
    const closed = Promise.all([once(other!, "close"), once(socket, "close")]);
    socket.close(4001, "enough");
    const [[code, reason]] = await closed;
    expect([code, String(reason)]).toEqual([4001, "enough"]);
  });

  test("is refused to who has no route, by a plain answer", async () => {
    const [host, port] = client.outbound[0]!.split(":");
    const socket = new WebSocket("ws://nobody/", { createConnection: () => connect({ host: host!, port: Number(port) }) });
    const [error] = (await once(socket, "error")) as [Error];
    expect(error.message).toContain("403");
  });
});
