import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { readConfig } from "../ca/config/config.ts";
import { serveCa } from "../ca/runtime/node.ts";
import { countersign } from "./support/command-line.ts";
import { inProcessWalk } from "./support/in-process-walk.ts";
import { startKmsServer } from "./support/kms-server.ts";
import { createDatabase } from "./support/postgres.ts";

test("what infra/terraform/README.md tells to begin with: two ceremonies by keys in KMS, and a CA that is well", { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "countersign-readme-function-"));
  const kms = await startKmsServer();
  const arns: Readonly<Record<string, string>> = { "kms:ROOT_KEY_ARN": kms.createKey("ECC_NIST_P384").arn, "kms:INTERMEDIATE_KEY_ARN": kms.createKey("ECC_NIST_P256").arn };
  const env = {
    ...kms.env, COUNTERSIGN_KMS_ENDPOINT: kms.endpoint, COUNTERSIGN_STORE: await createDatabase(), COUNTERSIGN_SEALING: `kms:${kms.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT").arn}`,
    COUNTERSIGN_ROOT_KEY: "offline", COUNTERSIGN_TRUST_DOMAIN: "east.example", COUNTERSIGN_DATA_DIR: join(folder, "data"), COUNTERSIGN_LISTEN: "127.0.0.1:0", LANG: "C.UTF-8",
  };
  // The AWS SDK looks for itself.
  for (const [name, value] of Object.entries(kms.env)) vi.stubEnv(name, value);
  const walk = inProcessWalk({
    document: "infra/terraform/README.md", env,
    adapted: (words, said) => [
      ...words.map((word) => arns[word]?.replace(/^/, "kms:") ?? (/^[\w.]+\.(?:request|answer)$/.test(word) ? join(folder, word) : word)),
      // What a person reads out to another.
      ...(words[1] === "request" ? [] : ["--confirm", said.match(/^ {2}[0-9a-f-]{24}$/gm)!.at(-1)!.trim()]),
    ],
  });
  try {
    await walk.follow("Begin");
    const served = await serveCa(readConfig({ env }), pino({ level: "silent" }));
    try {
      const { stdout } = await countersign(["check", "--url", served.url], env);
      expect(stdout).toMatch(/^√ intermediate \w+ \(kms\) has its key at hand/m);
      expect(stdout).toContain("All is well: √");
    } finally {
      await served.stop();
    }
  } finally {
    vi.unstubAllEnvs();
    await kms.close();
    rmSync(folder, { recursive: true });
  }
});

test("and the variables that it names are those without which Terraform asks", () => {
  const read = (name: string): string => readFileSync(new URL(`../infra/terraform/${name}`, import.meta.url), "utf8");
  const [, sentence = ""] = /^It asks for ([^.]*)\.$/m.exec(read("README.md")) ?? [];
  const told = [...sentence.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
  const variables = [...read("variables.tf").matchAll(/^variable "(\w+)" \{\n([^]*?)^\}/gm)];
  const needed = variables.filter(([, , body]) => !/^\s+default\s/m.test(body!)).map(([, name]) => name!);
  expect(told.sort()).toEqual(needed.sort());
});
