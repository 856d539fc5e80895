import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:https";
import { spawn, type ChildProcess } from "node:child_process";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import type { IssuedCertificate } from "../../ca/contract/certificates.ts";
import { paths } from "../../ca/contract/paths.ts";
import type { CreatedToken } from "../../ca/contract/tokens.ts";
import { encodeCsr } from "../../ca/pki/csr.ts";
import { adminTokenOf, startCa, type RunningCa } from "../../infra/demo/processes.ts";
import { cpuSecondsOf } from "./cpu.ts";
import { printTable } from "./load.ts";

/**
 * From the answer to a revocation until each of 200 connected proxies has refused the certificate: its live connection is cut. The CA
 * is one process on SQLite, the proxies are 50 each in four others, with polling off, so that the stream alone tells them.
 */
export async function benchRevoke(): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  const ca = await startCa({ dataDir });
  const children: ChildProcess[] = [];
  const echo = createServer((socket) => socket.on("error", () => undefined).pipe(socket));
  try {
    echo.listen(0, "127.0.0.1");
    await once(echo, "listening");
    const api = apiOf(ca);
    const ports = (await Promise.all(Array.from({ length: processes }, () => startProxies(api, (echo.address() as AddressInfo).port, children)))).flat();
    const times: number[] = [];
    let ofCa = 0;
    for (let round = 0; round <= rounds; round++) {
      const before = cpuSecondsOf(ca.pid);
      const cutMs = await revokeOne(api, ports);
      // The first round warms up.
      if (round === 0) continue;
      times.push(...cutMs);
      ofCa += cpuSecondsOf(ca.pid) - before;
    }
    times.sort((a, b) => a - b);
    const at = (q: number) => times[Math.min(times.length - 1, Math.floor(times.length * q))]!.toFixed(1);
    printTable(
      `Revocation to refusal: ${ports.length} connected proxies in ${processes} processes, ${rounds} revocations`,
      ["from the revocation's answer to the cut connection", "p50 ms", "p99 ms", "slowest ms", "CA CPU ms a round"],
      [["countersign", at(0.5), at(0.99), at(1), ((ofCa / rounds) * 1000).toFixed(1)]],
    );
  } finally {
    for (const child of children) child.kill();
    echo.close();
    await ca.stop();
    rmSync(dataDir, { recursive: true });
  }
}

/** @returns milliseconds from the answer to each connection's end; one that ended before the answer arrived counts as 0 */
async function revokeOne({ call, trustDomain }: Api, ports: readonly number[]): Promise<readonly number[]> {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const issued = await call<IssuedCertificate>(paths.certificates, {
    csr: Buffer.from(encodeCsr({ privateKey })).toString("base64"), attestation: { type: "operator", spiffeId: `spiffe://${trustDomain}/ns/bench/sa/client` },
  });
  const key = privateKey.export({ format: "pem", type: "pkcs8" }) as string;
  const sockets: TLSSocket[] = [];
  // A few at a time: this process makes all of the handshakes.
  for (let from = 0; from < ports.length; from += 20) sockets.push(...await Promise.all(ports.slice(from, from + 20).map((port) => connected(port, key, issued.chain))));
  const ends = sockets.map((socket) => new Promise<number>((resolve) => socket.once("close", () => resolve(performance.now()))));
  await call(`${paths.certificates}/${issued.serialNumber}/revoke`, { reason: "keyCompromise" });
  const answeredMs = performance.now();
  return (await Promise.all(ends)).map((endedMs) => Math.max(endedMs - answeredMs, 0));
}

/** Through the proxy to the app and back. */
async function connected(port: number, key: string, cert: string): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port, key, cert, rejectUnauthorized: false, minVersion: "TLSv1.3" });
  socket.write("ping");
  await once(socket, "data");
  return socket.on("error", () => undefined);
}

async function startProxies({ call, trustDomain }: Api, app: number, children: ChildProcess[]): Promise<readonly number[]> {
  const tokens = await Promise.all(Array.from({ length: proxiesEach }, () =>
    call<CreatedToken>(paths.tokens, { type: "join", spiffeId: `spiffe://${trustDomain}/ns/bench/sa/world` })));
  const child = spawn(process.execPath, [fileURLToPath(new URL("proxies.ts", import.meta.url)), String(app)], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  child.stdin.end(tokens.map(({ bootstrap = "" }) => bootstrap).join("\n"));
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return JSON.parse(line) as number[];
}

interface Api {
  readonly trustDomain: string;
  call<Answer>(path: string, body: object): Promise<Answer>;
}

function apiOf(ca: RunningCa): Api {
  const agent = new Agent({ keepAlive: true, maxSockets: 8, ca: readFileSync(ca.rootPemPath) });
  const authorization = `Bearer ${adminTokenOf(ca)}`;
  return {
    trustDomain: ca.trustDomain,
    call: (path, body) => new Promise((resolve, reject) => {
      const text = JSON.stringify(body);
      request(`${ca.url}${path}`, { method: "POST", agent, headers: { authorization, "content-type": "application/json", "content-length": Buffer.byteLength(text) } }, (response) => {
        let answer = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (answer += chunk)).on("error", reject).on("end", () => {
          if ((response.statusCode ?? 500) >= 300) return reject(new Error(`${path} was answered ${response.statusCode}: ${answer}`));
          resolve(JSON.parse(answer));
        });
      }).on("error", reject).end(text);
    }),
  };
}

const processes = 4;
const proxiesEach = 50;
const rounds = 10;
