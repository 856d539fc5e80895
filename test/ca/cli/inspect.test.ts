import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createPlainServer, type AddressInfo } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { dispatch } from "../../../ca/cli/dispatch.ts";
import { dns, name, testAuthority } from "../../support/test-ca.ts";
import { countersign, tooWide, type Ran } from "../../support/command-line.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-inspect-"));
afterAll(() => rmSync(folder, { recursive: true }));
const east = testAuthority({ trustDomain: "east" });
const leaf = east.issuer().leaf({ names: [dns("localhost")], subject: name("cart\u001b[31m"), extensions: {} });
const env = { COUNTERSIGN_DATA_DIR: join(folder, "none"), LANG: "C.UTF-8" };
const inspect = (...args: readonly string[]): Promise<Ran> => countersign(["cert", "inspect", ...args], env);
const file = (called: string, text: string | Uint8Array): string => {
  const path = join(folder, called);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
};
const roots = file("root.pem", east.pem);

describe("a file", () => {
  test("is told in 80 columns, judged by the bundle that is named, and ends with 0 or 1", async () => {
    const { exitCode, stdout, stderr } = await inspect(file("good.pem", leaf.chainPem), "--bundle", roots);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^\S+good.pem holds 2 things\n\n1\. certificate of a workload[^]*\n2\. certificate of a CA/);
    expect(stdout).toContain("√ a proxy that trusts your bundle takes it as spiffe://east/workload\n");
    expect(tooWide(stdout)).toEqual([]);
    const west = file("west.pem", testAuthority({ trustDomain: "west" }).pem);
    expect(await inspect(file("good.pem", leaf.chainPem), "--bundle", west)).toMatchObject({ exitCode: 1, stdout: expect.stringMatching(/× .*\n.*svid_trust_domain_unknown/) as string });
  });

  test("cannot write to the terminal by its names", async () => {
    const { stdout } = await inspect(file("hostile.pem", leaf.pem), "--bundle", roots);
    expect(stdout).toContain("subject       CN=cart\\u{1b}[31m\n");
    expect(stdout).not.toContain("\u001b");
  });

  test("is judged by the root in the data folder when no bundle is named", async () => {
    const { exitCode, stdout } = await inspect(file("chain.pem", leaf.chainPem), "--data-dir", folder);
    expect([exitCode, stdout.includes("takes it as")]).toEqual([0, true]);
  });

  test("with a private key that others can read is warned of", async () => {
    const path = file("key.pem", leaf.privateKeyPem);
    expect((await inspect(path)).stdout).not.toContain("others on this machine");
    chmodSync(path, 0o644);
    expect((await inspect(path)).stdout).toContain("‼ others on this machine can read the file with the private key");
  });

  test("comes from standard input too, and as JSON for scripts, with signs of ASCII where the locale has no others", async () => {
    let stdout = "";
    const io = { stdout: (text: string) => void (stdout += text), stderr: () => undefined, env: {}, readStdin: async () => Buffer.from(leaf.chainPem) };
    expect(await dispatch(["certificate", "inspect", "-", "--bundle", roots], io)).toBe(0);
    expect(stdout).toMatch(/^standard input holds 2 things\n[^]*\nok a proxy that trusts/);
    stdout = "";
    expect(await dispatch(["cert", "inspect", "-", "-o", "json", "--bundle", roots], io)).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ things: [{ identity: "spiffe://east/workload" }, {}], verdicts: expect.arrayContaining([{ status: "ok", text: "a proxy that trusts your bundle takes it as spiffe://east/workload" }]) as unknown });
  });

  test("that cannot be read is said to be so", async () => {
    expect(await inspect(join(folder, "absent"))).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/is no file, nor\s+a\s+server/) as string });
    expect(await inspect(folder)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("EISDIR") as string });
    expect(await inspect(roots, "--bundle", file("junk", "junk"))).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/no\s+certificate to trust/) as string });
  });
});

describe("a server", () => {
  test("is asked for its chain, which is judged with its name", async () => {
    const server = createServer({ key: leaf.privateKeyPem, cert: leaf.chainPem, requestCert: true, rejectUnauthorized: true, ca: east.pem }).listen(0, "127.0.0.1");
    server.on("tlsClientError", () => undefined);
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const { exitCode, stdout } = await inspect(`127.0.0.1:${port}`, "--bundle", roots);
    expect([exitCode, stdout.split("\n")[0]]).toEqual([0, `127.0.0.1 port ${port} speaks TLSv1.3 and shows 2 certificates`]);
    expect(stdout).toMatch(/‼ it has not the name 127\.0\.0\.1/);
    expect((await inspect(`https://127.0.0.1:${port}/`, "--servername", "localhost", "--bundle", roots)).stdout).toContain("√ it has the name localhost");
    server.close();
  });

  test("that wants a certificate has the whole handshake, and is not left to wait for the rest of it", async () => {
    const server = createServer({ key: leaf.privateKeyPem, cert: leaf.chainPem, requestCert: true, rejectUnauthorized: false, allowHalfOpen: true }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const secured = once(server, "secureConnection");
    const { exitCode } = await inspect(`127.0.0.1:${(server.address() as AddressInfo).port}`, "--bundle", roots);
    expect(exitCode).toBe(0);
    const [socket] = await secured as [TLSSocket];
    socket.destroy();
    server.close();
  });

  test("that does not listen, or speaks no TLS, is explained", async () => {
    const plain = createPlainServer((socket) => socket.on("error", () => undefined).resume().end("HTTP/1.1 400 Bad Request\r\n\r\n")).listen(0, "127.0.0.1");
    await once(plain, "listening");
    const { port } = plain.address() as AddressInfo;
    expect((await inspect(`127.0.0.1:${port}`)).stderr.replaceAll("\n", " ")).toContain("does not speak TLS");
    await new Promise((resolve) => plain.close(resolve));
    expect(await inspect(`127.0.0.1:${port}`)).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/nothing\s+listens\s+there/) as string });
  });
});

test.each([["inspect", "what to look at is missing"], ["inspect a b", "one argument too many"], [`inspect ${roots} --servername x`, "for a server"], ["-o json inspect", "comes first"]])("%s ends with 2", async (line, expected) => {
  expect(await countersign(["cert", ...line.split(" ")], env)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(expected) as string });
});
