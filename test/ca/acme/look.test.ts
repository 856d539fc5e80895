import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { lookAtAcme } from "../../../ca/acme/look.ts";
import { startDnsServer } from "../../support/dns-server.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-acme-look-"));
afterAll(() => rmSync(folder, { recursive: true }));
const accounts = (text: string): string => {
  const path = join(folder, "accounts.json");
  writeFileSync(path, text, { mode: 0o600 });
  return path;
};
const secret = Buffer.alloc(16, 7).toString("base64url");

test("a DNS server that answers is well, also when it knows no such name", async () => {
  const dns = await startDnsServer();
  const settings = { names: ["*.shop.internal"], resolver: dns.address, externalAccountsFile: accounts(JSON.stringify({ team: { key: secret } })) };
  expect(await lookAtAcme(settings)).toEqual({});
  dns.addresses.set("shop.internal", "127.0.0.1");
  expect(await lookAtAcme(settings)).toEqual({});
  dns.close();
  expect(await lookAtAcme(settings)).toMatchObject({ resolver: expect.stringMatching(/^the DNS server 127\.0\.0\.1:\d+ does not answer \(E/) as string });
});

test.each([["{", "it is not JSON"], [JSON.stringify({ team: { key: "short" } }), "team has a short key"]])("external accounts like %s are told, without what is in them", async (text, said) => {
  const dns = await startDnsServer();
  const { accounts: trouble } = await lookAtAcme({ names: ["shop.internal"], resolver: dns.address, externalAccountsFile: accounts(text) });
  dns.close();
  expect(trouble).toContain(said);
});
