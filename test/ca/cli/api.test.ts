import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { apiVariables } from "../../../ca/cli/api.ts";
import { configTable as caTable } from "../../../ca/config/table.ts";
import { configTable as proxyTable } from "../../../proxy/config/table.ts";
import { countersign } from "../../support/command-line.ts";
import { dns, ip, subjectAltName, testAuthority, type LeafOptions } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-api-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Lists tokens at a server that has this certificate, and says which secrets it was shown. */
async function listTokens(leafOptions: LeafOptions, host: string, { issuerOf = "east", meant }: { readonly issuerOf?: string; readonly meant?: string } = {}) {
  const root = testAuthority({ trustDomain: "east", notAfterMs: Date.now() + 3_600_000 });
  const leaf = root.issuer({ spiffeId: `spiffe://${issuerOf}`, notAfterMs: Date.now() + 3_600_000 }).leaf({ notAfterMs: Date.now() + 3_600_000, ...leafOptions });
  const shown: (string | undefined)[] = [];
  const server = createServer({ key: leaf.privateKeyPem, cert: leaf.chainPem, minVersion: "TLSv1.3" }, (request, response) => {
    shown.push(request.headers.authorization);
    response.end(`{"tokens":[]}`);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  writeFileSync(join(folder, "root.pem"), root.pem);
  const url = `https://${host}:${(server.address() as AddressInfo).port}`;
  try {
    const ran = await countersign(["token", "list", "--url", url, "--data-dir", folder], { COUNTERSIGN_TOKEN: "secret", ...(meant !== undefined && { COUNTERSIGN_TRUST_DOMAIN: meant }) });
    return { ...ran, shown };
  } finally {
    server.close();
  }
}

const names = [dns("localhost"), ip(127, 0, 0, 1)];

describe("the token is shown", () => {
  test("to a server with the CA's own ID, in a name of its certificate", async () => {
    const { exitCode, shown } = await listTokens({ spiffeId: "spiffe://east/countersign/ca", names }, "127.0.0.1");
    expect([exitCode, shown]).toEqual([0, ["Bearer secret"]]);
  });

  test("to the CA of another cluster under the root only when that one is meant", async () => {
    const ask = (meant?: string) => listTokens({ spiffeId: "spiffe://west/countersign/ca", names }, "127.0.0.1", { issuerOf: "west", ...(meant !== undefined && { meant }) });
    expect([(await ask("west")).shown, (await ask("north")).shown]).toEqual([["Bearer secret"], []]);
    const { shown, stderr } = await ask();
    expect([shown, stderr]).toEqual([[], expect.stringMatching(/CA of west, and\s+east is meant;.*COUNTERSIGN_TRUST_DOMAIN/s)]);
  });

  test("not to who has an issuer of another cluster sign for the CA's own ID", async () => {
    const { shown, stderr } = await listTokens({ spiffeId: "spiffe://east/countersign/ca", names }, "127.0.0.1", { issuerOf: "west" });
    expect([shown, stderr]).toEqual([[], expect.stringContaining("not the CA's own")]);
  });

  test.each<[string, LeafOptions, string, string]>([
    ["a workload that got the CA's DNS name and address", { spiffeId: "spiffe://east/ns/shop/sa/cart", names }, "127.0.0.1", "not the CA's own"],
    ["a server below the CA's ID", { spiffeId: "spiffe://east/countersign/ca/x", names }, "127.0.0.1", "not the CA's own"],
    ["a server without an ID", { extensions: { subjectAltName: subjectAltName(names, true) } }, "127.0.0.1", "not the CA's own"],
    ["the CA itself under a name that is not its own", { spiffeId: "spiffe://east/countersign/ca", names: [dns("ca.example")] }, "127.0.0.1", "another name"],
  ])("not to %s", async (_who, leaf, host, why) => {
    const { exitCode, stderr, shown } = await listTokens(leaf, host);
    expect([exitCode, shown]).toEqual([1, []]);
    expect(stderr).toContain(why);
  });
});

test("a misspelt environment variable is refused, and none that the programs read is taken for one", async () => {
  const env = { COUNTERSIGN_DATA_DIR: folder, COUNTERSIGN_TOKEN: "secret", COUNTERSIGN_URL: "https://127.0.0.1:9" };
  expect(await countersign(["token", "list"], { ...env, COUNTERSIGN_TOKENFILE: "x" })).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("COUNTERSIGN_TOKEN_FILE?") });
  const others = [...caTable, ...proxyTable].map((setting) => setting.env).filter((name) => !apiVariables.includes(name));
  const { stderr } = await countersign(["token", "list"], { ...Object.fromEntries([...others, "COUNTERSIGN_CONFIG", "COUNTERSIGN_PORT", "COUNTERSIGN_BACKUP_PASSPHRASE"].map((name) => [name, "x"])), ...env });
  expect(stderr).toMatch(/nothing\s+listens\s+there/);
});
