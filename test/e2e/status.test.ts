import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pino } from "pino";
import { readConfig } from "../../ca/config/config.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { decodePem, encodePem } from "../../ca/pki/pem.ts";
import { revocationInfoOf } from "../../ca/pki/revocation-info.ts";
import { serveCa, type ServedCa } from "../../ca/runtime/node.ts";
import { programAvailable } from "../support/programs.ts";
import { newCsr } from "../support/running-ca.ts";

const [hasOpenssl, hasCurl, hasCerttool, hasNginx] = ["openssl", "curl", "certtool", "nginx"].map(programAvailable);
const folder = mkdtempSync(join(tmpdir(), "countersign-status-"));
const path = (name: string) => join(folder, name);
let served: ServedCa;
let crlUrls: Readonly<Record<string, string>>;

/** A certificate with its key, as files. */
async function issue(name: string): Promise<{ readonly serialNumber: string; readonly crlUrl: string; readonly issuerUrl: string }> {
  const { csr, privateKey } = newCsr();
  const admin = { actor: "token:test", name: "test", role: "admin", scope: ["spiffe://east/*"] } as const;
  const issued = await served.ca.issue({ csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart", dnsNames: ["shop.east"] } }, { caller: admin });
  const [leafPem = "", issuerPem = ""] = issued.chain.split(/(?<=-----END CERTIFICATE-----\n)/);
  writeFileSync(path(`${name}.pem`), leafPem);
  writeFileSync(path(`${name}-chain.pem`), issued.chain);
  writeFileSync(path(`${name}.key`), privateKey.export({ format: "pem", type: "pkcs8" }));
  writeFileSync(path("issuer.pem"), issuerPem);
  const { crlUrls: [crlUrl = ""], issuerUrls: [issuerUrl = ""] } = revocationInfoOf(parseCertificate(decodePem(leafPem, "CERTIFICATE")[0]!));
  return { serialNumber: issued.serialNumber, crlUrl, issuerUrl };
}

/** Runs a program; both outputs as one text. */
function run(program: string, args: readonly string[]): Promise<{ readonly ok: boolean; readonly text: string }> {
  return new Promise((resolve) => {
    execFile(program, args, { cwd: folder, timeout: 20_000 }, (error, stdout, stderr) => resolve({ ok: error === null, text: stdout + stderr }));
  });
}

async function fetchTo(url: string, file: string): Promise<void> {
  const response = await fetch(url);
  expect(response.status).toBe(200);
  const der = new Uint8Array(await response.arrayBuffer());
  writeFileSync(path(file), der);
  writeFileSync(path(`${file}.pem`), encodePem("X509 CRL", der));
}

beforeAll(async () => {
  const config = readConfig({ file: { trustDomain: "east", dataDir: path("ca"), listen: "127.0.0.1:0", statusListen: "127.0.0.1:0", crlShards: "4" } });
  served = await serveCa(config, pino({ level: "silent" }));
  writeFileSync(path("root.pem"), served.ca.bundle().pem);
  const [good, bad] = [await issue("good"), await issue("bad")];
  // Another shard than the revoked one's, so that the lists can be mixed up.
  const admin = { actor: "token:test", name: "test", role: "admin", scope: [] } as const;
  await served.ca.revoke(bad.serialNumber, "keyCompromise", admin);
  crlUrls = { good: good.crlUrl, bad: bad.crlUrl };
  await fetchTo(good.crlUrl, "good.crl");
  await fetchTo(bad.crlUrl, "bad.crl");
  const shardsOf = good.crlUrl.slice(0, good.crlUrl.lastIndexOf("/"));
  await fetchTo(`${shardsOf}/full.crl`, "full.crl");
  const issuer = parseCertificate(decodePem((await run("cat", ["issuer.pem"])).text, "CERTIFICATE")[0]!);
  await fetchTo(revocationInfoOf(issuer).crlUrls[0]!, "root.crl");
});
afterAll(async () => {
  await served.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(!hasOpenssl)("openssl", () => {
  test("finds the CRLs well signed", async () => {
    expect((await run("openssl", ["crl", "-inform", "DER", "-in", "full.crl", "-CAfile", "issuer.pem", "-noout"])).text).toContain("verify OK");
    expect((await run("openssl", ["crl", "-inform", "DER", "-in", "root.crl", "-CAfile", "root.pem", "-noout"])).text).toContain("verify OK");
    const { text } = await run("openssl", ["crl", "-inform", "DER", "-in", "bad.crl", "-noout", "-text"]);
    expect(text).toMatch(/Issuing Distribution Point: critical/);
    expect(text).toMatch(/CRL Reason Code:\s+Key Compromise/);
  });

  test("accepts a certificate and refuses a revoked one, by the CRL it names, the issuer by the root's", async () => {
    const verify = (name: string, crl: string, ...more: string[]) =>
      run("openssl", ["verify", ...more, "-x509_strict", "-CAfile", "root.pem", "-untrusted", "issuer.pem", "-CRLfile", `${crl}.pem`, "-CRLfile", "root.crl.pem", `${name}.pem`]);
    expect((await verify("good", "good.crl", "-crl_check")).text).toContain("good.pem: OK");
    expect((await verify("good", "good.crl", "-crl_check_all")).text).toContain("good.pem: OK");
    expect((await verify("bad", "bad.crl", "-crl_check")).text).toMatch(/error 23 at 0 depth lookup: certificate revoked/);
    expect((await verify("bad", "full.crl", "-crl_check_all")).text).toMatch(/error 23 at 0 depth lookup: certificate revoked/);
    expect((await verify("good", "full.crl", "-crl_check_all")).text).toContain("good.pem: OK");
  });

  test("does not take a CRL of another shard for the one that lists a certificate", async () => {
    const other = crlUrls["bad"]!.replace(/4-(\d)\.crl$/, (_, shard: string) => `4-${(Number(shard) + 1) % 4}.crl`);
    await fetchTo(other, "other.crl");
    const { text } = await run("openssl", ["verify", "-crl_check", "-CAfile", "root.pem", "-untrusted", "issuer.pem", "-CRLfile", "other.crl.pem", "bad.pem"]);
    expect(text).toMatch(/error (3|44) at 0 depth lookup/);
  });

  test("accepts an issuer for another CA, and refuses it by the root's CRL once it is revoked", async () => {
    const admin = { actor: "token:test", name: "test", role: "admin", scope: [] } as const;
    const lent = await served.ca.issueIssuer({ csr: newCsr().csr, profile: "istio", trustDomain: "west" }, admin);
    writeFileSync(path("lent.pem"), lent.chain);
    const [crlUrl = ""] = revocationInfoOf(parseCertificate(decodePem(lent.chain, "CERTIFICATE")[0]!)).crlUrls;
    const verify = async () => {
      await fetchTo(crlUrl, "lent.crl");
      return (await run("openssl", ["verify", "-crl_check", "-x509_strict", "-CAfile", "root.pem", "-CRLfile", "lent.crl.pem", "lent.pem"])).text;
    };
    expect(await verify()).toContain("lent.pem: OK");
    await served.ca.revoke(lent.serialNumber, "cACompromise", admin);
    // A list that was signed just now is looked at again a second later.
    await expect.poll(verify, { timeout: 20_000, interval: 300 }).toMatch(/error 23 at 0 depth lookup: certificate revoked/);
  });

  test.each([["-sha1"], ["-sha256"], ["-no_nonce"]])("is told good and revoked by OCSP (%s)", async (option) => {
    const ask = (...names: string[]) => run("openssl", [
      "ocsp", ...(option === "-no_nonce" ? [option] : []), "-issuer", "issuer.pem", ...names.flatMap((name) => [...(option === "-no_nonce" ? [] : [option]), "-cert", `${name}.pem`]),
      "-url", `${served.statusUrl}/ocsp`, "-CAfile", "root.pem", "-verify_other", "issuer.pem",
    ]);
    const { text } = await ask("good", "bad");
    expect(text).toContain("Response verify OK");
    expect(text).toMatch(/good\.pem: good/);
    expect(text).toMatch(/bad\.pem: revoked[\s\S]*Reason: keyCompromise/);
  });

  test("says that it is unknown what this CA did not issue", async () => {
    const { text } = await run("openssl", ["ocsp", "-issuer", "issuer.pem", "-serial", "0x1234", "-url", `${served.statusUrl}/ocsp`, "-CAfile", "root.pem", "-verify_other", "issuer.pem"]);
    expect(text).toMatch(/0x1234: unknown/);
  });
});

test.skipIf(!hasCerttool)("certtool reads the CRL and finds it verified", async () => {
  const info = await run("certtool", ["--crl-info", "--inder", "--infile", "bad.crl"]);
  expect(info.text).toMatch(/Revoked certificates \(1\)/);
  expect(info.text).not.toMatch(/error/i);
  const verified = await run("certtool", ["--verify-crl", "--load-ca-certificate", "issuer.pem", "--infile", "full.crl.pem"]);
  expect(verified.text).toMatch(/Verification output: Verified/);
});

test("the issuer's certificate is where the certificate says, and is the one in the chain", async () => {
  const { issuerUrl } = await issue("another");
  const der = new Uint8Array(await (await fetch(issuerUrl)).arrayBuffer());
  expect(encodePem("CERTIFICATE", der)).toBe((await run("cat", ["issuer.pem"])).text);
});

describe.skipIf(!hasNginx || !hasCurl)("nginx with ssl_crl", () => {
  let nginx: ChildProcess;
  beforeAll(async () => {
    await issue("server");
    await run("sh", ["-c", "cat full.crl.pem root.crl.pem > crls.pem"]);
    writeFileSync(path("nginx.conf"), `
      daemon off; master_process off; pid ${path("nginx.pid")}; error_log stderr info; user root;
      events {}
      http {
        access_log off;
        client_body_temp_path ${path("body")}; proxy_temp_path ${path("proxy")}; fastcgi_temp_path ${path("f")}; uwsgi_temp_path ${path("u")}; scgi_temp_path ${path("s")};
        server {
          listen unix:${path("nginx.sock")} ssl;
          ssl_certificate ${path("server-chain.pem")}; ssl_certificate_key ${path("server.key")};
          ssl_client_certificate ${path("root.pem")}; ssl_verify_client on; ssl_verify_depth 3; ssl_crl ${path("crls.pem")};
          location / { return 200 "$ssl_client_verify"; }
        }
      }`);
    nginx = spawn("nginx", ["-p", folder, "-c", path("nginx.conf")], { stdio: ["ignore", "ignore", "pipe"] });
    let log = "";
    // Its first line of information comes once it listens.
    await new Promise<void>((resolve, reject) => {
      nginx.stderr!.setEncoding("utf8").on("data", (text: string) => {
        log += text;
        if (log.includes("nginx/")) resolve();
      });
      nginx.on("exit", (code) => reject(new Error(`nginx ended with ${code}: ${log}`)));
    });
  });
  afterAll(async () => {
    if (nginx === undefined || nginx.exitCode !== null) return;
    nginx.kill("SIGTERM");
    await once(nginx, "exit");
  });

  const get = (name: string) => run("curl", [
    "-sS", "--unix-socket", "nginx.sock", "--cacert", "root.pem", "--cert", `${name}-chain.pem`, "--key", `${name}.key`, "-w", " %{http_code}", "https://shop.east/",
  ]);

  test("lets a client in, and refuses it once it is revoked", async () => {
    expect((await get("good")).text).toBe("SUCCESS 200");
    const { text } = await get("bad");
    expect(text).toMatch(/The SSL certificate error[\s\S]* 400$/);
  });
});
