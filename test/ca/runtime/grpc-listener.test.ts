import { once } from "node:events";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { connect } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeFrame, grpcContentType } from "../../../ca/pki/grpc.ts";
import { openGrpcListener, type GrpcListener } from "../../../ca/runtime/grpc-listener.ts";
import { startTestCa, type TestCa } from "../../support/running-ca.ts";

let testCa: TestCa;
let listener: GrpcListener;
beforeAll(async () => {
  testCa = await startTestCa();
  listener = await openGrpcListener("127.0.0.1", 0, "--linkerd-listen", { requestTimeoutMs: 10_000, maxConnections: 2 });
  listener.present(testCa.ca.apiCredentials());
});
afterAll(async () => {
  await listener.drain(0);
  await testCa.close();
});

async function dial(localAddress: string): Promise<{ readonly session: ClientHttp2Session; readonly closed: Promise<unknown> }> {
  const from: object = { localAddress };
  const socket = connect({ host: "127.0.0.1", port: listener.port, ca: testCa.ca.bundle().pem, ALPNProtocols: ["h2"], ...from });
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => undefined);
  await Promise.race([once(socket, "secureConnect"), closed.then(() => Promise.reject(new Error("closed")))]);
  const session = connectHttp2("https://localhost", { createConnection: () => socket });
  session.on("error", () => undefined);
  return { session, closed };
}

test("a client that holds all connections makes room for others: first that on which no call waits for its answer", { timeout: 60_000 }, async () => {
  let answer!: (message: Uint8Array) => void;
  const asked = new Promise<void>((resolve) => listener.serve(() => {
    resolve();
    return new Promise((done) => (answer = done));
  }));
  const [waits, idle] = [await dial("127.0.0.1"), await dial("127.0.0.1")];
  const call = waits.session.request({ ":method": "POST", ":path": "/a", "content-type": grpcContentType });
  call.end(encodeFrame(Buffer.from("?")));
  await asked;
  const newcomer = await dial("127.0.0.2");
  await idle.closed;
  await expect(dial("127.0.0.1")).rejects.toThrow();
  answer(Buffer.from("!"));
  const [trailers] = await once(call.resume(), "trailers") as [Record<string, unknown>];
  expect(trailers["grpc-status"]).toBe("0");
  for (const { session } of [waits, newcomer]) session.destroy();
});
