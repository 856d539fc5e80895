import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { bundle, functionPackage } from "../infra/bundle.ts";
import { sharedWithProxy } from "./support/proxy-sources.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * DESIGN 3 as data. The first row whose `of` begins a file's path decides what that file may import: project paths by
 * prefix, packages by name, Node's modules by `node:` name (`node:` alone allows all of them).
 */
const storeInterface = ["ca/store/store.ts", "ca/store/acts.ts", "ca/store/errors.ts", "ca/store/rows/"];
const useCase = ["ca/pki/", "ca/contract/", "ca/refusal.ts", "ca/privilege.ts", "ca/rate-limits.ts", "ca/rate-buckets.ts", "ca/turns.ts", "ca/log.ts", "ca/settings/", "ca/config/config.ts", "ca/config/profiles.ts", "ca/config/attestors.ts", "ca/metrics.ts", "ca/status-paths.ts", "ca/authority-tree.ts", ...storeInterface, "ca/signer/signer.ts", "node:crypto"];
const table: readonly { readonly of: string; readonly may: readonly string[] }[] = [
  { of: "ca/pki/", may: ["ca/pki/", "node:crypto", "node:buffer", "node:net"] },
  { of: "ca/contract/", may: ["ca/contract/"] },
  { of: "ca/settings/", may: ["ca/settings/", "ca/pki/json.ts", "node:fs", "node:path"] },
  { of: "ca/status-paths.ts", may: [] },
  { of: "ca/authority-tree.ts", may: ["ca/contract/"] },
  { of: "ca/refusal.ts", may: ["ca/contract/"] },
  { of: "ca/load-once.ts", may: [] },
  { of: "ca/config/", may: ["ca/config/", "ca/attestation/name-template.ts", "ca/settings/", "ca/pki/", "ca/contract/", "ca/refusal.ts", "node:"] },
  { of: "ca/rate-buckets.ts", may: [] },
  { of: "ca/turns.ts", may: [] },
  { of: "ca/privilege.ts", may: ["ca/refusal.ts", "ca/pki/"] },
  { of: "ca/rate-limits.ts", may: ["ca/rate-buckets.ts", "ca/refusal.ts", "ca/contract/"] },
  { of: "ca/prom-client.d.ts", may: ["prom-client"] },
  { of: "ca/metrics.ts", may: ["prom-client", "ca/contract/", ...storeInterface] },
  ...storeInterface.map((of) => ({ of, may: ["ca/contract/", ...storeInterface] })),
  { of: "ca/store/", may: ["ca/store/", "ca/audit/", "ca/pki/", "ca/contract/", "ca/settings/folder.ts", "ca/authority-tree.ts", "drizzle-orm", "better-sqlite3", "pg", "node:"] },
  { of: "ca/signer/signer.ts", may: ["ca/pki/"] },
  { of: "ca/signer/", may: ["ca/signer/", "ca/pki/", "ca/settings/folder.ts", "@aws-sdk/client-kms", "node:"] },
  { of: "ca/lint/", may: ["ca/lint/", "ca/pki/", "ca/refusal.ts", "node:crypto", "node:timers/promises"] },
  { of: "ca/audit/", may: ["ca/audit/", ...useCase] },
  { of: "ca/attestation/", may: ["ca/attestation/", "ca/audit/", ...useCase, "jose", "node:https", "node:fs"] },
  { of: "ca/issuance/", may: ["ca/issuance/", "ca/lint/", "ca/attestation/", "ca/audit/", "ca/authority/", ...useCase] },
  { of: "ca/authority/", may: ["ca/authority/", "ca/issuance/", "ca/lint/", "ca/audit/", "ca/signer/", ...useCase] },
  { of: "ca/ceremony/", may: ["ca/ceremony/", "ca/revocation/", "ca/authority/", "ca/issuance/", "ca/lint/", "ca/audit/", "ca/signer/", ...useCase] },
  { of: "ca/feed/", may: ["ca/feed/", "ca/reports/tap-row.ts", ...useCase] },
  { of: "ca/reports/", may: ["ca/reports/", "ca/attestation/", "ca/audit/", ...useCase, "node:timers/promises"] },
  { of: "ca/revocation/", may: ["ca/revocation/", "ca/issuance/lint-failed.ts", "ca/lint/", "ca/audit/", ...useCase, "node:timers/promises"] },
  { of: "ca/policy/decide.ts", may: ["ca/policy/parse.ts", "ca/policy/http-path.ts", "ca/policy/id-pattern.ts", "ca/pki/", "ca/contract/"] },
  { of: "ca/policy/parse.ts", may: ["ca/policy/http-path.ts", "ca/policy/id-pattern.ts", "ca/pki/", "ca/contract/"] },
  { of: "ca/policy/http-path.ts", may: [] },
  { of: "ca/policy/id-pattern.ts", may: ["ca/pki/"] },
  { of: "ca/policy/", may: ["ca/policy/", "ca/documents.ts", ...useCase] },
  { of: "ca/federation/", may: ["ca/federation/", "ca/audit/", "ca/documents.ts", ...useCase, "node:"] },
  { of: "ca/upstream/", may: ["ca/upstream/", "ca/lint/rule.ts", "ca/federation/endpoint.ts", "ca/federation/errors.ts", "ca/federation/fetch-pinned.ts", "ca/authority/", "ca/issuance/", "ca/audit/", "ca/signer/", "ca/config/upstream.ts", ...useCase, "node:timers/promises"] },
  { of: "ca/acme/", may: ["ca/acme/", "ca/config/acme.ts", "ca/issuance/names.ts", "ca/lint/permitted-names.ts", "ca/attestation/identity.ts", "ca/revocation/revoke.ts", ...useCase, "jose", "node:"] },
  { of: "ca/linkerd/", may: ["ca/linkerd/", "ca/issuance/issue.ts", "ca/attestation/token-fault.ts", "ca/authority/keeper.ts", ...useCase] },
  { of: "ca/confirm-clock.ts", may: ["ca/clock.ts", "ca/audit/", "ca/authority/errors.ts", ...useCase] },
  { of: "ca/http/services.ts", may: ["ca/contract/", "ca/reports/edges.ts", "ca/reports/proxies.ts", "ca/reports/workloads.ts", "ca/confirm-clock.ts", "ca/operators.ts", "ca/federation/federation.ts", "ca/policy/policies.ts", "ca/pki/", "ca/rate-limits.ts", ...storeInterface] },
  { of: "ca/dashboard/", may: ["ca/dashboard/", "ca/http/", "ca/check/", "ca/audit/", "ca/feed/", "ca/policy/", ...useCase, "hono", "package.json", "@dagrejs/dagre", "node:fs", "node:timers/promises", "node:worker_threads"] },
  { of: "ca/http/", may: ["ca/http/", "ca/load-once.ts", "ca/check/reference.ts", "ca/dashboard/app.ts", "ca/dashboard/sessions.ts", "ca/audit/", "ca/feed/", "ca/tokens.ts", ...useCase, "hono", "@hono/zod-openapi", "@hono/node-server", "zod", "node:"] },
  { of: "ca/check/", may: ["ca/check/", "ca/audit/", "ca/pki/", "ca/contract/"] },
  { of: "ca/inspect/", may: ["ca/inspect/", "ca/lint/", "ca/pki/", "node:crypto", "node:net"] },
  { of: "ca/inject/", may: ["ca/inject/", "ca/pki/json.ts"] },
  { of: "ca/cli/manifest-file.ts", may: ["ca/inject/", "ca/cli/api.ts", "yaml"] },
  { of: "ca/cli/document-file.ts", may: ["ca/cli/api.ts", "yaml", "node:"] },
  { of: "ca/", may: ["ca/", "package.json", "hono", "@hono/node-server", "pino", "node:"] },
  { of: "proxy/", may: ["proxy/", "ca/pki/", "ca/contract/", "ca/settings/", "ca/policy/decide.ts", "ca/policy/parse.ts", "node:"] },
];

describe("the import table of DESIGN 3", () => {
  const files = ["ca", "proxy"].flatMap((folder) => sourceFiles(join(root, folder)));

  test("it looks at every source file", () => {
    expect(files.length).toBeGreaterThan(50);
  });

  for (const file of files) {
    const path = relative(root, file);
    test(`${path} imports only what its row allows`, () => {
      const row = table.find(({ of }) => path.startsWith(of));
      const forbidden = importsOf(file).filter((specifier) => !(row?.may ?? []).some((allowed) => matches(specifier, allowed)));
      expect(forbidden).toEqual([]);
    });
  }
});

describe("the bundle that is the proxy", () => {
  const outdir = mkdtempSync(join(tmpdir(), "countersign-bundle-"));
  afterAll(() => rmSync(outdir, { recursive: true }));

  test("is one file that carries no package at all, so no drizzle, hono or AWS code", async () => {
    const { inputs, outputs } = await bundle("proxy", outdir);
    expect(Object.keys(inputs).filter((input) => input.includes("node_modules"))).toEqual([]);
    const own = Object.keys(inputs).filter((input) => !input.startsWith("proxy/"));
    expect(own.filter((input) => !sharedWithProxy.some((allowed) => input.startsWith(allowed)))).toEqual([]);
    expect(Object.keys(outputs)).toHaveLength(1);
    const text = readFileSync(join(outdir, "countersign-proxy.js"), "utf8");
    expect(text).not.toMatch(/drizzle|hono|aws-sdk/i);
    const [, kibibytes, modules] = /makes the proxy one file: (\d+) KiB, (\d+) modules/.exec(readFileSync(join(root, "README.md"), "utf8")) ?? [];
    expect(Math.abs(text.length / 1024 / Number(kibibytes) - 1), `README.md says ${kibibytes} KiB, it is ${text.length / 1024}`).toBeLessThan(0.15);
    expect(Math.abs(Object.keys(inputs).length / Number(modules) - 1), `README.md says ${modules} modules, it is ${Object.keys(inputs).length}`).toBeLessThan(0.15);
  });
});

test("the function's folder holds its bundle and the migrations, without SQLite, a listener or the command line; it starts without what a certificate does not need", async () => {
  const outdir = mkdtempSync(join(tmpdir(), "countersign-bundle-"));
  try {
    const { inputs } = await functionPackage(outdir);
    expect(Object.keys(inputs).filter((input) => /better-sqlite3|ca\/store\/sqlite|node-server|ca\/cli\/|ca\/runtime\/(node|listener)\.ts/.test(input))).toEqual([]);
    expect(readdirSync(outdir).filter((name) => !name.endsWith(".LEGAL.txt")).sort()).toEqual(["countersign.cjs", "lambda.mjs", "migrations"]);
    expect(existsSync(join(outdir, "migrations", "postgres", "meta", "_journal.json"))).toBe(true);
    expect(readFileSync(join(outdir, "countersign.cjs"), "latin1")).not.toMatch(/[^\0-\x7f]/);
    const started = new Set(["ca/runtime/lambda-function.ts"]);
    for (const input of started) for (const { path, kind } of inputs[input]?.imports ?? []) if (kind !== "dynamic-import") started.add(path);
    expect(started.size).toBeGreaterThan(200);
    expect([...started].filter((input) => /node_modules\/(@aws-sdk|@smithy|zod|@hono\/zod-openapi)\/|prom-client\/lib\/(default|cluster)|ca\/(dashboard|acme\/server)|ca\/http\/schemas/.test(input))).toEqual([]);
  } finally {
    rmSync(outdir, { recursive: true });
  }
});

test("nothing stands at the top level beside the agreed names", () => {
  const agreed = new Set([
    "package.json", "package-lock.json", "tsconfig.json", "ca", "proxy", "migrations", "infra", "test", "README.md", "LICENSE", "CHANGELOG.md",
    "node_modules", "dist",
  ]);
  expect(readdirSync(root).filter((name) => !name.startsWith(".") && !agreed.has(name))).toEqual([]);
});

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => /\.[jt]s$/.test(name)).map((name) => join(folder, name));
}

function importsOf(file: string): string[] {
  const source = readFileSync(file, "utf8");
  const found = source.matchAll(/(?:^|\n)\s*(?:import|export)\b[^;'"]*?from\s*["']([^"']+)["']|(?:^|\n)import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)|new URL\(\s*["'](\.[^"']+\.[jt]s)["']/g);
  return [...found].map((match) => {
    const specifier = match[1] ?? match[2] ?? match[3] ?? match[4] ?? "";
    return specifier.startsWith(".") ? relative(root, resolve(dirname(file), specifier)) : specifier;
  });
}

function matches(specifier: string, allowed: string): boolean {
  if (specifier === allowed || specifier.startsWith(`${allowed}/`)) return true;
  return (allowed.endsWith("/") || allowed.endsWith(":")) && specifier.startsWith(allowed);
}
