import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { readConfig } from "../ca/config/config.ts";
import { serveCa, type ServedCa } from "../ca/runtime/node.ts";
import { resolveHere } from "./support/host-names.ts";
import { inProcessWalk } from "./support/in-process-walk.ts";
import { startObjectServer } from "./support/object-server.ts";
import { dns, testAuthority } from "./support/test-ca.ts";

describe("what ca/README.md tells to type", () => {
  const folder = mkdtempSync(join(tmpdir(), "countersign-readme-ca-"));
  const file = (name: string, text = ""): string => (text !== "" && writeFileSync(join(folder, name), text, { mode: 0o600 }), join(folder, name));
  const web = testAuthority({ trustDomain: "web.example" });
  const roots = file("web.pem", web.pem);
  const localhost = web.leaf({ names: [dns("localhost")] });
  const running: ServedCa[] = [];
  afterEach(async () => {
    for (const served of running.splice(0)) await served.stop();
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  async function serve(trustDomain: string, settings: Readonly<Record<string, string>> = {}): Promise<ServedCa> {
    const served = await serveCa(readConfig({ flags: { "trust-domain": trustDomain, "data-dir": file(trustDomain), listen: "127.0.0.1:0", ...settings } }), pino({ level: "silent" }));
    running.push(served);
    return served;
  }
  const at = ({ ca, url }: ServedCa) => ({ COUNTERSIGN_URL: url, COUNTERSIGN_DATA_DIR: file(ca.trustDomain) });

  const host = "bundle.east.example";

  test("of a certificate of the web: by it another CA knows whose bundle it reads", async () => {
    const west = await serve("west", { "federation-web-roots": roots });
    let east: ServedCa | undefined;
    const walk = inProcessWalk({
      document: "ca/README.md", env: at(west),
      async serve(words) {
        expect(words.filter((word) => word.startsWith("--"))).toEqual(["--public-url", "--web-cert", "--web-key"]);
        const { chainPem, privateKeyPem } = web.leaf({ names: [dns(host)] });
        east = await serve("east", { "web-cert": file("fullchain.pem", chainPem), "web-key": file("privkey.pem", privateKeyPem) });
      },
      adapted: (words) => words.map((word) => word.replace(`${host}:8443`, `${host}:${new URL(east!.url).port}`)),
    });
    const forget = resolveHere(host);
    try {
      await walk.follow("Federation");
    } finally {
      forget();
    }
    expect((await west.ca.federation.get("east")).bundle).toBeDefined();
  });

  test("of hubs: a cluster is in one that is a bucket", async () => {
    const bucket = await startObjectServer({ tls: { key: localhost.privateKeyPem, cert: localhost.chainPem } });
    try {
      const north = await serve("west", { "data-dir": file("north"), "federation-web-roots": roots });
      const walk = inProcessWalk({
        document: "ca/README.md", env: { ...at(north), COUNTERSIGN_DATA_DIR: file("north"), ...bucket.env },
        adapted: (words, said) => [
          ...words.map((word) => {
            if (word === "https://hub.example/") return `${bucket.endpoint}/fleet/hub/`;
            const [, begin] = /^(countersign_hub_|countersign\.dev\/west\/hub\+).*\.\.\.$/.exec(word) ?? [];
            return begin === undefined ? word : said.split(/\s/).find((one) => one.startsWith(begin)) ?? word;
          }),
          // What AWS itself needs no word of.
          ...(words.includes("s3://fleet/hub") ? ["--endpoint", bucket.endpoint] : []), ...(words[1] === "subscribe" ? [] : ["--hub-roots", roots]),
          ...(words[1] === "hub" ? ["--hub-file", file("hub.json")] : []),
        ],
      });
      expect(await walk.follow("Hubs")).toContain("this CA: is in it\n");
    } finally {
      await bucket.close();
    }
  });
});
