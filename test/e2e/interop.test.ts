import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { generateKeyPairSync } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { paths } from "../../ca/contract/paths.ts";
import { parseBootstrap } from "../../ca/pki/bootstrap.ts";
import { encodeCsr } from "../../ca/pki/csr.ts";
import { freePort } from "../../infra/demo/place.ts";
import { countersign, startCa, startProcess, startProxy, type RunningCa, type RunningProcess, type RunningProxy } from "../../infra/demo/processes.ts";

const run = promisify(execFile);

describe("what the CA issues and the proxy presents, as other programs see it", () => {
  const dataDir = mkdtempSync(join(tmpdir(), "countersign-interop-"));
  const [cert, key] = [join(dataDir, "client.pem"), join(dataDir, "client.key")];
  const running: RunningProcess[] = [];
  let ca: RunningCa;
  let world: RunningProxy;
  let clientId: string;

  beforeAll(async () => {
    ca = await startCa({ dataDir });
    running.push(ca);
    clientId = `spiffe://${ca.trustDomain}/ns/default/sa/client`;
    await countersign(ca, "certificate", "issue", "--id", clientId, "--cert", cert, "--key", key);
    const app = await freePort();
    running.push(startProcess("infra/demo/world.ts", [], { PORT: String(app) }));
    const bootstrap = await countersign(ca, "token", "create", "--id", `spiffe://${ca.trustDomain}/ns/default/sa/world`, "--dns", "world.default");
    world = await startProxy({ bootstrap: bootstrap.trim(), app });
    running.push(world);
  }, 60_000);
  afterAll(async () => {
    await Promise.all(running.map((process) => process.stop()));
    rmSync(dataDir, { recursive: true });
  });

  test("openssl verify accepts the chain, strictly, for both purposes", async () => {
    for (const purpose of ["sslclient", "sslserver"]) {
      const { stdout } = await run("openssl", ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca.rootPemPath, "-untrusted", cert, cert]);
      expect(stdout).toContain("OK");
    }
  });

  test("openssl s_client verifies the API, and gets nothing older than TLS 1.3", async () => {
    const port = new URL(ca.url).port;
    expect(await sClient(port, "-CAfile", ca.rootPemPath, "-verify_return_error", "-verify_ip", "127.0.0.1")).toMatch(/TLSv1\.3[^]*Verification: OK|Verification: OK[^]*TLSv1\.3/);
    await expect(sClient(port, "-tls1_2")).rejects.toThrow();
  });

  test("openssl s_client verifies the proxy, with a client certificate", async () => {
    const output = await sClient(String(world.inboundPort), "-CAfile", ca.rootPemPath, "-verify_return_error", "-cert", cert, "-key", key, "-cert_chain", cert);
    expect(output).toContain("Verification: OK");
    expect(output).not.toContain("Reused");
  });

  test("curl --cert reaches the app through the proxy, and the app is told who called", async () => {
    expect(await curlWorld("--cert", cert, "--key", key)).toBe(`${clientId}\n`);
  });

  test("curl with the same name for itself but no certificate gets nothing", async () => {
    await expect(curlWorld()).rejects.toThrow();
    await expect(curlWorld("--header", `countersign-client-id: ${clientId}`)).rejects.toThrow();
  });

  test("a join token redeemed by 50 requests at once gives exactly one certificate", async () => {
    const spiffeId = `spiffe://${ca.trustDomain}/ns/default/sa/raced`;
    const { token } = parseBootstrap(await countersign(ca, "token", "create", "--id", spiffeId));
    const answers = await Promise.all(Array.from({ length: 50 }, () => redeem(ca, token)));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(new Set(answers.filter(({ status }) => status !== 201).map(({ code }) => code))).toEqual(new Set(["token_already_redeemed"]));
    expect(JSON.parse(await countersign(ca, "certificate", "list", "--id", spiffeId, "-o", "json"))).toHaveLength(1);
  });

  async function curlWorld(...args: readonly string[]): Promise<string> {
    const { stdout } = await run("curl", [
      "--silent", "--show-error", "--max-time", "10", "--cacert", ca.rootPemPath, "--resolve", `world.default:${world.inboundPort}:127.0.0.1`,
      ...args, `https://world.default:${world.inboundPort}/whoami`,
    ]);
    return stdout;
  }
});

async function sClient(port: string, ...args: readonly string[]): Promise<string> {
  const child = run("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, ...args], { timeout: 30_000 });
  child.child.stdin?.end("Q\n");
  return (await child).stdout;
}

function redeem(ca: RunningCa, token: string): Promise<{ status: number; code: string | undefined }> {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const body = JSON.stringify({ csr: Buffer.from(encodeCsr({ privateKey })).toString("base64"), attestation: { type: "join-token", token } });
  return new Promise((resolve, reject) => {
    request(`${ca.url}${paths.certificates}`, { method: "POST", ca: readFileSync(ca.rootPemPath), headers: { "content-type": "application/json" } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk)).on("end", () => {
        resolve({ status: response.statusCode ?? 0, code: (JSON.parse(text) as { code?: string }).code });
      });
    }).on("error", reject).end(body);
  });
}
