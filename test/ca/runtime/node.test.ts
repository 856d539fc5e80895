import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { promisify } from "node:util";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readConfig, type CaConfig } from "../../../ca/config/config.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { decodePem } from "../../../ca/pki/pem.ts";
import { serveCa, type ServedCa } from "../../../ca/runtime/node.ts";
import { freePort } from "../../../infra/demo/place.ts";

const silent = pino({ level: "silent" });
const run = promisify(execFile);
const folders: string[] = [];
function settings(dataDir = newFolder(), more: Readonly<Record<string, string>> = {}): CaConfig {
  return readConfig({ file: { trustDomain: "east", dataDir, listen: "127.0.0.1:0", ...more } });
}
function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "countersign-serve-"));
  folders.push(folder);
  return folder;
}

let served: ServedCa;
let config: CaConfig;
beforeAll(async () => {
  config = settings();
  served = await serveCa(config, silent);
});
afterAll(async () => {
  await served.stop();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

describe("what the first start leaves in the data folder", () => {
  test("the admin token, readable by its owner alone, works", async () => {
    expect(statSync(served.files.adminToken).mode & 0o777).toBe(0o600);
    expect((await served.ca.authenticate(readFileSync(served.files.adminToken, "utf8").trim()))?.role).toBe("admin");
  });

  test("the root and the log's key are those of the CA, and no half-written file is left", () => {
    expect(readFileSync(served.files.root, "utf8")).toBe(served.ca.bundle().pem);
    expect(readFileSync(served.files.verifierKey, "utf8").trim()).toBe(served.ca.verifierKey);
    expect(readdirSync(config.dataDir).filter((name) => name.endsWith(".new"))).toEqual([]);
  });
});

describe("TLS as others see it", () => {
  test("curl reaches it with the root alone", async () => {
    const { stdout } = await run("curl", [
      "-sS",
      "--cacert",
      served.files.root,
      "-o",
      "/dev/null",
      "-w",
      "%{http_code} %{ssl_verify_result}",
      `${served.url}/readyz`,
    ]);
    expect(stdout).toBe("200 0");
  });

  test("curl without the root does not", async () => {
    await expect(run("curl", ["-sS", `${served.url}/readyz`])).rejects.toMatchObject({ code: 60 });
  });

  test("openssl verifies the chain, which ends with the root that a bootstrap string pins", async () => {
    const { host } = new URL(served.url);
    const client = spawn("openssl", [
      "s_client",
      "-connect",
      host,
      "-CAfile",
      served.files.root,
      "-verify_return_error",
      "-verify_ip",
      "127.0.0.1",
      "-showcerts",
      "-tls1_3",
    ]);
    client.stdin.end();
    let output = "";
    client.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    client.stderr.resume();
    await once(client, "close");
    expect(output).toContain("Verify return code: 0 (ok)");
    const certificates = output.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----\n/g) ?? [];
    expect(certificates).toHaveLength(3);
    const last = parseCertificate(decodePem(certificates[2] ?? "", "CERTIFICATE")[0]!);
    expect(last.fingerprint).toBe(served.ca.firstStart?.rootFingerprint);
  });

  test("a renewed certificate is presented without a restart", async () => {
    let nowMs = Date.now();
    const own = await serveCa(settings(), silent, () => new Date(nowMs));
    const before = await presentedBy(own);
    nowMs += 20 * 3_600_000;
    await own.ca.tick();
    expect(await presentedBy(own)).not.toBe(before);
    await own.stop();
  });
});

test("curl sees the feed's events as they come, over HTTP/1.1, and stopping ends its stream in order", async () => {
  const own = await serveCa(settings(), silent);
  const client = spawn("curl", ["-sSN", "--http1.1", "--cacert", own.files.root, `${own.url}/v1/watch`], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(client, "exit");
  let text = "";
  for await (const chunk of client.stdout.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
    text += chunk as string;
    if (text.includes("event: revocation")) break;
  }
  expect(text).toMatch(/^event: epoch\ndata: \{"feedEpoch":"[0-9a-f]{16}"\}\n\nid: \S+\nevent: bundle\n/);
  await own.stop();
  // Cut at the drain's deadline it would end with 18: a body without its end.
  expect(await exited).toEqual([0, null]);
});

test("a body that never ends is answered 413, and the connection is not kept busy with the rest", async () => {
  const headers = `-H content-type:application/json -H expect: -H "authorization: Bearer $(cat ${served.files.adminToken})"`;
  const curl = `curl -sS --cacert ${served.files.root} -o /dev/null -w '%{http_code}' ${headers} -X POST -T -`;
  const { stdout } = await run("bash", ["-c", `yes | ${curl} ${served.url}/v1/tokens || true`]);
  expect(stdout).toBe("413");
});

test("the largest body is what the operator says", async () => {
  const own = await serveCa(settings(newFolder(), { bodyLimit: "1KiB" }), silent);
  const status = async (length: number): Promise<string> => {
    const authorization = `authorization: Bearer ${readFileSync(own.files.adminToken, "utf8").trim()}`;
    const headers = ["-H", "content-type: application/json", "-H", authorization];
    const output = ["-sS", "--cacert", own.files.root, "-o", "/dev/null", "-w", "%{http_code}"];
    return (await run("curl", [...output, ...headers, "-d", "x".repeat(length), `${own.url}/v1/tokens`])).stdout;
  };
  expect([await status(1024), await status(1025)]).toEqual(["400", "413"]);
  await own.stop();
});

test("of two replicas that begin together on one store, one keeps an admin token: the one that works", async () => {
  const env = { COUNTERSIGN_SEALING_KEY: randomBytes(32).toString("base64") };
  const store = `sqlite:${join(newFolder(), "shared.db")}`;
  const begin = () =>
    serveCa(readConfig({ file: { trustDomain: "east", dataDir: newFolder(), listen: "127.0.0.1:0", store }, env }), silent);
  const replicas = await Promise.all([begin(), begin()]);
  const [kept, ...more] = replicas.filter(({ files }) => existsSync(files.adminToken));
  expect(more).toEqual([]);
  expect(kept?.ca.firstStart).toBeDefined();
  const token = readFileSync(kept!.files.adminToken, "utf8").trim();
  for (const { ca } of replicas) expect((await ca.authenticate(token))?.role).toBe("admin");
  for (const replica of replicas) await replica.stop();
});

test("bootstrap strings carry the port that the system chose", async () => {
  expect(served.publicUrl).toBe(`https://127.0.0.1:${new URL(served.url).port}`);
});

test("a second start on the same folder resumes, and leaves the admin token as it is", async () => {
  const own = settings();
  const first = await serveCa(own, silent);
  const token = readFileSync(first.files.adminToken, "utf8");
  await first.stop();
  const second = await serveCa(own, silent);
  expect(second.ca.firstStart).toBeUndefined();
  expect(readFileSync(second.files.adminToken, "utf8")).toBe(token);
  expect(second.ca.verifierKey).toBe(first.ca.verifierKey);
  await second.stop();
});

describe("what keeps it from starting leaves nothing behind", () => {
  test("a port in use costs no first start", async () => {
    const blocker = createServer().listen(0, "127.0.0.1");
    await once(blocker, "listening");
    const own = settings(newFolder(), { listen: `127.0.0.1:${(blocker.address() as AddressInfo).port}` });
    await expect(serveCa(own, silent)).rejects.toMatchObject({ code: "listen_failed" });
    expect(existsSync(join(own.dataDir, "admin-token"))).toBe(false);
    blocker.close();
    await once(blocker, "close");
    const later = await serveCa(own, silent);
    expect(later.ca.firstStart).toBeDefined();
    await later.stop();
  });

  test("a data folder that is a file", async () => {
    const path = join(newFolder(), "file");
    writeFileSync(path, "");
    await expect(serveCa(settings(path), silent)).rejects.toMatchObject({
      code: "data_folder_unusable",
      message: expect.stringContaining("--data-dir") as string,
    });
  });

  test("a data folder that everybody may write to, also where the database is elsewhere", async () => {
    const folder = newFolder();
    const elsewhere = settings(folder, { store: `sqlite:${join(newFolder(), "ca.db")}` });
    chmodSync(folder, 0o777);
    for (const own of [settings(folder), elsewhere]) {
      await expect(serveCa(own, silent)).rejects.toMatchObject({
        code: "data_folder_unusable",
        message: expect.stringContaining(`chmod 700 ${folder}`) as string,
      });
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  test("another sealing key; and with the right one it starts on the same folder", async () => {
    const own = settings();
    await (await serveCa(own, silent)).stop();
    const key = join(own.dataDir, "sealing.key");
    const right = readFileSync(key);
    writeFileSync(key, `${Buffer.alloc(32, 7).toString("base64")}\n`, { mode: 0o600 });
    await expect(serveCa(own, silent)).rejects.toMatchObject({ name: "SignerError" });
    writeFileSync(key, right);
    await (await serveCa(own, silent)).stop();
  });
});

test("stopping refuses new connections, and the store can be opened by the next at once", async () => {
  const listen = `127.0.0.1:${await freePort()}`;
  const own = settings(newFolder(), { listen });
  const first = await serveCa(own, silent);
  await first.stop();
  await expect(run("curl", ["-sS", "-k", first.url])).rejects.toMatchObject({ code: 7 });
  const second = await serveCa(settings(own.dataDir, { listen }), silent);
  await second.stop();
});

/** Fingerprint of the certificate that the next handshake brings. */
async function presentedBy({ url }: ServedCa): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port), rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}
