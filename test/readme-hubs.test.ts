import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { expect, test } from "vitest";
import { readConfig } from "../ca/config.ts";
import { serveCa } from "../ca/runtime/node.ts";
import { inProcessWalk } from "./support/in-process-walk.ts";
import { startObjectServer } from "./support/object-server.ts";
import { dns, testAuthority } from "./support/test-ca.ts";

test("what ca/README.md tells of hubs: a cluster is in one that is a bucket", async () => {
  const folder = mkdtempSync(join(tmpdir(), "countersign-readme-hubs-"));
  const [roots, dataDir] = [join(folder, "web.pem"), join(folder, "west")];
  const web = testAuthority({ trustDomain: "web.example" });
  writeFileSync(roots, web.pem);
  const { privateKeyPem: key, chainPem: cert } = web.leaf({ names: [dns("localhost")] });
  const bucket = await startObjectServer({ tls: { key, cert } });
  const served = await serveCa(readConfig({ file: { trustDomain: "west", dataDir, listen: "127.0.0.1:0", federationWebRoots: roots } }), pino({ level: "silent" }));
  try {
    const walk = inProcessWalk({
      document: "ca/README.md", env: { COUNTERSIGN_URL: served.url, COUNTERSIGN_DATA_DIR: dataDir, ...bucket.env },
      adapted: (words, said) => [
        ...words.map((word) => {
          if (word === "https://hub.example/") return `${bucket.endpoint}/fleet/hub/`;
          const [, begin] = /^(countersign_hub_|countersign\.dev\/west\/hub\+).*\.\.\.$/.exec(word) ?? [];
          return begin === undefined ? word : said.split(/\s/).find((one) => one.startsWith(begin)) ?? word;
        }),
        // What AWS itself needs no word of.
        ...(words.includes("s3://fleet/hub") ? ["--endpoint", bucket.endpoint] : []), ...(words[1] === "subscribe" ? [] : ["--hub-roots", roots]),
        ...(words[1] === "hub" ? ["--hub-file", join(folder, "hub.json")] : []),
      ],
    });
    expect(await walk.follow("Hubs")).toContain("this CA: is in it\n");
  } finally {
    await served.stop();
    await bucket.close();
    rmSync(folder, { recursive: true });
  }
});
