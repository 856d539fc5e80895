import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { bundles } from "../../infra/bundle.ts";
import { startCa, startProxy } from "../../infra/demo/processes.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "countersign-package-"));
const installed = join(folder, "node_modules", "countersign");
let paths: readonly string[];

// What "npm install countersign-0.1.0.tgz" leaves, without a registry: the tarball, and beside it the packages that the bundles do not carry.
beforeAll(() => {
  const report = execFileSync("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const parsed = JSON.parse(report) as PackReport[] | Record<string, PackReport>;
  const [packed] = Object.values(parsed);
  paths = packed!.files.map(({ path }) => path);
  mkdirSync(installed, { recursive: true });
  execFileSync("tar", ["-xzf", join(folder, packed!.filename), "-C", installed, "--strip-components", "1"]);
  for (const name of outside) symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
});
afterAll(() => rmSync(folder, { recursive: true }));

interface PackReport {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

/** pg-native is optional and not used. */
const outside = [...new Set([...bundles.ca.external, ...bundles.proxy.external])].filter((name) => name !== "pg-native");

describe("the package", () => {
  test("has what runs and what explains it, and neither sources, tests nor anything of a running CA", () => {
    expect(paths.filter((path) => /\.ts$|^test\/|\.db|\.key$|\.pem$|snapshot/.test(path))).toEqual([]);
    for (const { entryPoints } of [bundles.ca, bundles.proxy]) {
      for (const entry of Object.keys(entryPoints)) expect(paths).toContain(`dist/${entry}.js`);
    }
    for (const path of ["LICENSE", "README.md", "CHANGELOG.md", "dist/countersign.js.LEGAL.txt", ...Object.values(packageJson.bin)]) expect(paths).toContain(path);
    for (const kind of ["sqlite", "postgres"]) {
      const { entries } = JSON.parse(readFileSync(join(root, "migrations", kind, "meta/_journal.json"), "utf8")) as { entries: readonly { tag: string }[] };
      for (const { tag } of entries) expect(paths).toContain(`migrations/${kind}/${tag}.sql`);
      expect(paths).toContain(`migrations/${kind}/meta/_journal.json`);
    }
  });

  test("brings the packages that its bundles do not carry", () => {
    for (const name of outside) expect(Object.keys(packageJson.dependencies)).toContain(name);
  });

  test("runs outside the repository: a CA on SQLite, its commands, and a proxy that gets its identity from it", async () => {
    const bin = (name: keyof typeof packageJson.bin): string => join(installed, packageJson.bin[name]);
    const env = { HOME: folder };
    const ca = await startCa({ dataDir: join(folder, "data"), program: relative(root, bin("countersign")), env });
    try {
      const run = (...args: readonly string[]): string => execFileSync(process.execPath, [bin("countersign"), ...args], {
        cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], env: { COUNTERSIGN_URL: ca.url, COUNTERSIGN_DATA_DIR: ca.dataDir },
      });
      expect(run("version")).toContain(`countersign ${packageJson.version},`);
      const bootstrap = run("token", "create", "--id", "spiffe://countersign.local/packaged").trim();
      const proxy = await startProxy({ bootstrap, app: 1, program: relative(root, bin("countersign-proxy")), env });
      expect(run("certificate", "list", "--status", "valid")).toContain("/packaged");
      expect(await proxy.stop()).toBe(0);
    } finally {
      expect(await ca.stop()).toBe(0);
    }
  });
});
