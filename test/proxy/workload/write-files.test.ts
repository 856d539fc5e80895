import { spawn } from "node:child_process";
import { X509Certificate, createPrivateKey } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "node:tls";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../proxy/clock.ts";
import type { IdentityHolder } from "../../../proxy/identity/source.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { topLevelNames } from "../../../proxy/workload/pem-files.ts";
import type { RenewalCommand } from "../../../proxy/workload/renewal-command.ts";
import { writeIdentityFiles } from "../../../proxy/workload/write-files.ts";
import { east, eastIdentity, holderOf, metricValue } from "../../support/data-path.ts";
import { manualClock, until } from "../../support/manual-clock.ts";
import { openssl, opensslAvailable } from "../../support/openssl.ts";
import { programAvailable } from "../../support/programs.ts";
import { recordedLog } from "../../support/recorded-log.ts";
import { testAuthority } from "../../support/test-ca.ts";

const west = testAuthority({ trustDomain: "west" });
let parent: string;
let dir: string;
const closing: (() => unknown)[] = [];
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), "countersign-files-"));
  dir = join(parent, "tls");
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  rmSync(parent, { recursive: true, force: true });
});

interface Options { readonly holder?: IdentityHolder; readonly argv?: RenewalCommand["argv"]; readonly timeoutMs?: number; readonly clock?: typeof systemClock }

function write({ holder = holderOf(eastIdentity("web"), [east, west]), argv, timeoutMs = 20_000, clock = systemClock }: Options = {}) {
  const log = recordedLog();
  const metrics = createMetrics();
  const environment = { PATH: process.env["PATH"] ?? "", VISIBLE: "yes" };
  closing.push(writeIdentityFiles({ files: { dir, onRenewal: argv && { argv, timeoutMs, environment } }, source: holder, clock, log, metrics }));
  const logged = (message: string, times = 1) => until(`${times} x "${message}"`, () => log.lines.filter((line) => line.message.startsWith(message)).length >= times);
  return { holder, log, metrics, logged };
}

const text = (name: string) => readFileSync(join(dir, name), "utf8");
const mode = (name: string) => statSync(join(dir, name)).mode & 0o777;
const versions = () => readdirSync(dir).filter((name) => name.startsWith("..version-"));

describe("the files", () => {
  test("are certificate, key, own bundle and one file for each other trust domain, the key for us alone", async () => {
    const { holder, logged } = write();
    await logged("identity files written");
    expect(text("cert.pem")).toBe(holder.identity()!.chainPem);
    expect(new X509Certificate(text("cert.pem")).checkPrivateKey(createPrivateKey(text("key.pem")))).toBe(true);
    expect(text("bundle.pem")).toBe(east.pem);
    expect(readdirSync(join(dir, "federated"))).toEqual(["west.pem"]);
    expect(text("federated/west.pem")).toBe(west.pem);
    expect([mode("key.pem"), mode("cert.pem"), mode("bundle.pem"), mode("federated/west.pem")]).toEqual([0o600, 0o644, 0o644, 0o644]);
  });

  test("verify with openssl, by the own bundle alone", { skip: !opensslAvailable }, async () => {
    const { logged } = write();
    await logged("identity files written");
    const files = { "cert.pem": text("cert.pem"), "bundle.pem": text("bundle.pem"), "west.pem": text("federated/west.pem") };
    const verify = (bundle: string) => openssl(["verify", "-x509_strict", "-CAfile", bundle, "-untrusted", "cert.pem", "cert.pem"], files);
    expect(verify("bundle.pem")).toMatchObject({ ok: true });
    expect(verify("west.pem")).toMatchObject({ ok: false });
  });

  test("change all at once, and the key of before is gone", async () => {
    const { holder, logged } = write();
    await logged("identity files written");
    const before = text("key.pem");
    const next = eastIdentity("web");
    holder.setIdentity(next);
    holder.setBundles("east", east.bundles());
    await logged("identity files written", 2);
    expect(text("cert.pem")).toBe(next.chainPem);
    expect(new X509Certificate(text("cert.pem")).checkPrivateKey(createPrivateKey(text("key.pem")))).toBe(true);
    expect(text("key.pem")).not.toBe(before);
    // One rename, of the link that all names lead through, is the change.
    expect(topLevelNames.map((name) => readlinkSync(join(dir, name)))).toEqual(topLevelNames.map((name) => `..data/${name}`));
    expect(versions()).toEqual([readlinkSync(join(dir, "..data"))]);
    expect(existsSync(join(dir, "federated/west.pem"))).toBe(false);
  });

  test("do not change for a revocation, or for an identity that ends: the last ones stay", async () => {
    const { holder, log, logged } = write();
    await logged("identity files written");
    const before = readdirSync(dir);
    holder.setRevoked(new Set(["0a"]));
    holder.setIdentity(undefined);
    await Promise.resolve();
    expect(readdirSync(dir)).toEqual(before);
    expect(log.lines).toHaveLength(1);
  });

  test("wait for an identity, and what a crash left is removed with the first set", async () => {
    mkdirSync(join(dir, "..version-left"), { recursive: true, mode: 0o755 });
    const holder = holderOf(undefined);
    const { logged } = write({ holder });
    await Promise.resolve();
    expect(readdirSync(dir)).toEqual(["..version-left"]);
    holder.setIdentity(eastIdentity("web"));
    await logged("identity files written");
    expect(versions()).toHaveLength(1);
    expect(versions()).not.toContain("..version-left");
  });

  test("of a trust domain whose name no file can have are left out, and the log says so", async () => {
    const long = testAuthority({ trustDomain: "a".repeat(253) });
    const { log, logged } = write({ holder: holderOf(eastIdentity("web"), [east, west, long]) });
    await logged("identity files written");
    expect(readdirSync(join(dir, "federated"))).toEqual(["west.pem"]);
    expect(log.lines[0]?.fields["withoutFile"]).toEqual([long.trustDomain]);
  });

  test("that could not be written are tried again, with those of before in place", async () => {
    const clock = manualClock(Date.now());
    const { holder, logged, metrics } = write({ clock });
    await logged("identity files written");
    const before = text("cert.pem");
    // What the rename goes over is a folder: it fails for root, too, whom no mode stops.
    mkdirSync(join(dir, "..data_next", "in the way"), { recursive: true });
    holder.setIdentity(eastIdentity("web"));
    await logged("files not written");
    expect(text("cert.pem")).toBe(before);
    expect(versions()).toHaveLength(1);
    rmSync(join(dir, "..data_next"), { recursive: true });
    await clock.advance(30_000);
    expect(text("cert.pem")).toBe(holder.identity()!.chainPem);
    expect([metricValue(metrics, "identity_files_written_total", "failed"), metricValue(metrics, "identity_files_written_total", 'result="written"')]).toEqual([1, 2]);
  });
});

describe("a folder is refused", () => {
  test("that others may write to", () => {
    mkdirSync(dir);
    chmodSync(dir, 0o775);
    expect(() => write()).toThrow(/others may write to it/);
  });

  test("in which a name is taken by a file that is not ours, which stays", () => {
    mkdirSync(dir, { mode: 0o755 });
    writeFileSync(join(dir, "key.pem"), "somebody's");
    expect(() => write()).toThrow(/key\.pem in it was not made by this proxy/);
    expect(text("key.pem")).toBe("somebody's");
  });
});

describe("the command", () => {
  test("runs after each change, as it is written: no shell, no environment but the one it was given", async () => {
    const out = join(parent, "out");
    const program = "require('node:fs').appendFileSync(process.argv[1], JSON.stringify([process.argv.slice(2), Object.keys(process.env).sort(), require('node:fs').readFileSync(process.argv[2], 'utf8').length > 0]) + '\\n')";
    const { holder, logged, metrics } = write({ argv: [process.execPath, "-e", program, out, join(dir, "key.pem"), "$(id); `id`"] });
    await logged("renewal command done");
    holder.setIdentity(eastIdentity("web"));
    await logged("renewal command done", 2);
    const line = JSON.stringify([[join(dir, "key.pem"), "$(id); `id`"], ["PATH", "VISIBLE"], true]);
    expect(readFileSync(out, "utf8")).toBe(`${line}\n${line}\n`);
    expect(metricValue(metrics, "renewal_command_runs_total", "ok")).toBe(2);
  });

  test.each([
    ["failed", ["sh", "-c", "exit 3"], { exitCode: 3 }],
    ["not_started", ["/nonexistent/program"], { reason: "ENOENT" }],
  ] as const)("that %s is counted and logged, and the files stay", async (result, argv, fields) => {
    const { log, logged, metrics } = write({ argv: argv as unknown as RenewalCommand["argv"] });
    await logged("renewal command");
    expect(log.lines.at(-1)).toMatchObject({ level: "error", fields });
    expect(metricValue(metrics, "renewal_command_runs_total", result)).toBe(1);
    expect(existsSync(join(dir, "cert.pem"))).toBe(true);
  });

  test("that hangs is killed with what it started, and runs once more for all changes meanwhile", async () => {
    const clock = manualClock(Date.now());
    const pids = join(parent, "pids");
    const { holder, logged, metrics } = write({ clock, timeoutMs: 5000, argv: ["sh", "-c", `sleep 600 & echo $! >> ${pids}; wait`] });
    const started = (count: number) => until(`${count} started`, () => existsSync(pids) && readFileSync(pids, "utf8").trim().split("\n").length === count);
    await started(1);
    for (let change = 2; change <= 4; change++) {
      holder.setIdentity(eastIdentity("web"));
      await logged("identity files written", change);
    }
    await clock.advance(5000);
    await logged("renewal command took too long");
    await started(2);
    await clock.advance(5000);
    await logged("renewal command took too long", 2);
    expect(metricValue(metrics, "renewal_command_runs_total", "timeout")).toBe(2);
    for (const pid of readFileSync(pids, "utf8").trim().split("\n")) await until(`${pid} is gone`, () => !runs(Number(pid)));
  });
});

test("nginx serves each new certificate after its reload", { skip: !programAvailable("nginx") }, async () => {
  const socket = join(parent, "nginx.sock");
  const conf = join(parent, "nginx.conf");
  writeFileSync(conf, `
    daemon off; pid ${parent}/nginx.pid; error_log ${parent}/error.log; events {}
    http {
      access_log off; ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${parent}/${name};`).join(" ")}
      server { listen unix:${socket} ssl; ssl_certificate ${dir}/cert.pem; ssl_certificate_key ${dir}/key.pem; }
    }`);
  const { holder, logged } = write({ argv: ["sh", "-c", `test ! -e ${parent}/nginx.pid || nginx -c ${conf} -e ${parent}/error.log -s reload`] });
  await logged("renewal command done");
  const nginx = spawn("nginx", ["-c", conf, "-e", `${parent}/error.log`], { stdio: "ignore" });
  closing.push(async () => {
    nginx.kill("SIGQUIT");
    if (nginx.exitCode === null) await once(nginx, "exit");
  });
  await until("nginx listens", () => existsSync(`${parent}/nginx.pid`) && existsSync(socket));
  const serialNumber = async (): Promise<string> => {
    const client = connect({ path: socket, rejectUnauthorized: false });
    await once(client, "secureConnect");
    const presented = client.getPeerX509Certificate()!.serialNumber.toLowerCase();
    client.destroy();
    return presented;
  };
  expect(await serialNumber()).toBe(holder.identity()!.serialNumber);
  holder.setIdentity(eastIdentity("web"));
  await logged("renewal command done", 2);
  // nginx -s reload returns before the new workers accept, and an old one may still for a moment after they do.
  let presented = await serialNumber();
  for (let look = 0; look < 1000 && presented !== holder.identity()!.serialNumber; look++) {
    await sleep(20);
    presented = await serialNumber();
  }
  expect(presented).toBe(holder.identity()!.serialNumber);
});

function runs(pid: number): boolean {
  try {
    // A zombie whose parent has not looked yet is gone for us.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
