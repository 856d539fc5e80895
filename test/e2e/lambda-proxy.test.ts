import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { countersign, programs, startProcess, startProxy, type RunningCa } from "../../infra/demo/processes.ts";
import { functionPackage } from "../../infra/bundle.ts";
import { startLambdaFront } from "../support/lambda-front.ts";
import { lambdaRuntime, type LambdaRuntime } from "../support/lambda-runtime.ts";
import { createDatabase } from "../support/postgres.ts";
import { programAvailable } from "../support/programs.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-lambda-proxy-"));
const webRoot = join(folder, "web.pem");
let lambda: LambdaRuntime;
let front: Awaited<ReturnType<typeof startLambdaFront>>;
const openssl = programAvailable("openssl");

beforeAll(async () => {
  if (!openssl) return;
  await functionPackage(join(folder, "function"));
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=front", "-addext",
    "subjectAltName=DNS:localhost", "-keyout", join(folder, "web.key"), "-out", webRoot], { stdio: "ignore" });
  // The front is there before the function that names it in bootstrap strings.
  front = await startLambdaFront({ key: readFileSync(join(folder, "web.key"), "utf8"), cert: readFileSync(webRoot, "utf8") }, (event) => lambda.invoke(event));
  lambda = lambdaRuntime({
    file: join(folder, "function", "lambda.mjs"), managed: true,
    env: {
      COUNTERSIGN_TRUST_DOMAIN: "east", COUNTERSIGN_PUBLIC_URL: front.url, COUNTERSIGN_STORE: await createDatabase(),
      COUNTERSIGN_SEALING_KEY: randomBytes(32).toString("base64"),
    },
  });
  const { adminToken } = (await lambda.invoke({ countersign: "first-start" })) as { readonly adminToken: string };
  writeFileSync(join(folder, "admin-token"), adminToken, { mode: 0o600 });
  // Nothing was compiled beforehand, and the log, which comes by a way of its own, says so.
  await vi.waitUntil(() => lambda.lines.some((line) => line.includes("compiles anew")), { timeout: 20_000 });
  lambda.after.each = "freeze";
});
afterAll(async () => {
  await lambda?.kill();
  await front?.close();
  rmSync(folder, { recursive: true, force: true });
});

test.skipIf(!openssl)("a proxy and the command line reach a CA whose TLS a front end ends, and the proxy polls where there is no stream", async () => {
  const env = { NODE_EXTRA_CA_CERTS: webRoot };
  const ca = { url: front.url, dataDir: folder } as RunningCa;
  // By a file the CA's own certificate is wanted, and this is none.
  await expect(countersign(ca, "token", "create", "--id", "spiffe://east/web", "--ca-cert", webRoot)).rejects.toThrow("not the CA's own");
  const { bootstrap } = await createToken(ca);
  const proxy = await startProxy({ bootstrap, app: 1, args: ["--ca-tls", "web", "--revocation-poll", "1s"], env });
  try {
    await expect.poll(() => front.paths, { timeout: 20_000 }).toEqual(expect.arrayContaining(["/v1/certificates", "/v1/watch", "/v1/revocations"]));
  } finally {
    await proxy.stop();
  }
});

async function createToken({ url, dataDir }: RunningCa): Promise<{ readonly bootstrap: string }> {
  const args = ["token", "create", "--id", "spiffe://east/web", "-o", "json", "--ca-cert", "web", "--url", url, "--data-dir", dataDir];
  const { child, output } = startProcess(programs.ca, args, { NODE_EXTRA_CA_CERTS: webRoot });
  await once(child, "close");
  return JSON.parse(output()) as { bootstrap: string };
}
