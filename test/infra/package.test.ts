import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { bundles } from "../../infra/bundle.ts";
import { startCa, startProxy } from "../../infra/demo/processes.ts";
import { programAvailable } from "../support/programs.ts";
import { startWalk, type StandIn } from "../support/walk.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "countersign-package-"));
let paths: readonly string[];
let tarball: string;

// "npm pack" and "npm install", in a folder outside: every package that ours asks for, in the versions of our lock file, from npm's cache
// where "npm ci" left them there.
beforeAll(() => {
  const report = npm(root, "pack", "--ignore-scripts", "--json", "--pack-destination", folder);
  const [packed] = Object.values(JSON.parse(report) as PackReport[] | Record<string, PackReport>);
  paths = packed!.files.map(({ path }) => path);
  tarball = packed!.filename;
  const asks = { name: "fresh", version: "1.0.0", dependencies: { countersign: `file:${tarball}` } };
  const { bin, dependencies, engines } = packageJson;
  const ours = { version: packageJson.version, resolved: `file:${tarball}`, integrity: packed!.integrity, bin, dependencies, engines };
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as { packages: Record<string, { readonly dev?: boolean; readonly devOptional?: boolean }> };
  const locked = Object.entries(packages).filter(([path, { dev, devOptional }]) => path !== "" && dev !== true && devOptional !== true);
  writeFileSync(join(folder, "package.json"), JSON.stringify(asks));
  writeFileSync(join(folder, "package-lock.json"), JSON.stringify({ ...asks, lockfileVersion: 3, requires: true, packages: { "": asks, "node_modules/countersign": ours, ...Object.fromEntries(locked) } }));
  // Without scripts: one of the packages would bring another Node.js, which is not what is tested here. SQLite comes built.
  npm(folder, "ci", "--prefer-offline", "--ignore-scripts");
}, 180_000);
afterAll(() => rmSync(folder, { recursive: true }));

function npm(cwd: string, ...args: readonly string[]): string {
  return execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

interface PackReport {
  readonly filename: string;
  readonly integrity: string;
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

  test("is installed with its two programs and what it asks for, and nothing that leads back to the repository", () => {
    expect(readdirSync(join(folder, "node_modules/.bin"))).toEqual(expect.arrayContaining(Object.keys(packageJson.bin)));
    for (const name of [...Object.keys(packageJson.bin).map((program) => `.bin/${program}`), "countersign", "better-sqlite3"]) {
      expect(realpathSync(join(folder, "node_modules", name)).startsWith(`${realpathSync(folder)}/`), name).toBe(true);
    }
    for (const name of Object.keys(packageJson.bin)) {
      expect(execFileSync(join(folder, "node_modules/.bin", name), ["--version"], { cwd: folder, encoding: "utf8", env: { PATH: `${dirname(process.execPath)}:/usr/bin:/bin` } }))
        .toBe(`${name} ${packageJson.version}, Node.js ${process.versions.node}\n`);
    }
  });

  test("runs outside the repository: a CA on SQLite, its commands, and a proxy that gets its identity from it", async () => {
    const bin = (name: keyof typeof packageJson.bin): string => join(folder, "node_modules/.bin", name);
    const env = { HOME: folder };
    const ca = await startCa({ dataDir: join(folder, "data"), program: relative(root, bin("countersign")), env });
    try {
      const run = (...args: readonly string[]): string => execFileSync(process.execPath, [bin("countersign"), ...args], {
        cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], env: { COUNTERSIGN_URL: ca.url, COUNTERSIGN_DATA_DIR: ca.dataDir },
      });
      const bootstrap = run("token", "create", "--id", "spiffe://countersign.local/packaged").trim();
      const proxy = await startProxy({ bootstrap, app: 1, program: relative(root, bin("countersign-proxy")), env });
      expect(run("certificate", "list", "--status", "valid")).toContain("/packaged");
      expect(await proxy.stop()).toBe(0);
    } finally {
      expect(await ca.stop()).toBe(0);
    }
  });
});

const hasSystemd = ["curl", "systemctl", "systemd-sysusers"].every(programAvailable);
if (!hasSystemd) console.warn("SKIPPED: installation on a machine with systemd (packages systemd, curl)");

test.skipIf(!hasSystemd)("is installed on a machine with systemd by the README's commands: users, units that are enabled, and the programs that they start", { timeout: 60_000 }, async () => {
  const npm: StandIn = ([command, ...rest], _input, at) => {
    if (command === "pack" && rest.length === 0) copyFileSync(join(folder, tarball), join(at, tarball));
    else if (command === "install" && rest.join(" ") === `-g ./${tarball}`) {
      // What it left elsewhere.
      for (const name of ["countersign", ...outside]) cpSync(join(folder, "node_modules", name), join(at, "machine/usr/local/lib/node_modules", name), { recursive: true });
      mkdirSync(join(at, "machine/usr/local/bin"));
      for (const [name, path] of Object.entries(packageJson.bin)) symlinkSync(`../lib/node_modules/countersign/${path}`, join(at, "machine/usr/local/bin", name));
    } else throw new Error(`npm ${command} ${rest.join(" ")}`);
    return "";
  };
  // The machine is a folder.
  const walk = await startWalk({ instead: { " /usr/": ' "$HOME"/machine/usr/', " /etc/": ' "$HOME"/machine/etc/' }, standIns: { npm } });
  try {
    await walk.run(`mkdir -p machine/usr/lib/sysusers.d machine/etc/systemd/system
      sudo() { "$@"; }
      systemd-sysusers() { command systemd-sysusers --root="$HOME/machine"; }
      systemctl() { [ "$1" = daemon-reload ] || command systemctl --root="$HOME/machine" "$1" "\${!#}"; }`);
    const machine = join(walk.folder, "machine");
    await walk.follow("Machines with systemd");
    const users = readFileSync(join(machine, "etc/passwd"), "utf8");
    for (const user of ["countersign", "countersign-proxy"]) expect(users).toMatch(new RegExp(`^${user}:`, "m"));
    for (const unit of ["countersign.service", "countersign-proxy@cart.service"]) {
      const wanted = join(machine, "etc/systemd/system/multi-user.target.wants", unit);
      expect(readlinkSync(wanted)).toBe(`/etc/systemd/system/${unit.replace("@cart", "@")}`);
      const [, program = ""] = /^ExecStart=(\S+)/m.exec(readFileSync(join(machine, readlinkSync(wanted)), "utf8")) ?? [];
      expect(existsSync(join(machine, program)), program).toBe(true);
    }
    expect(existsSync(join(machine, "etc/countersign"))).toBe(true);
    expect(execFileSync(process.execPath, [join(machine, "usr/local/bin/countersign"), "version"], { encoding: "utf8" })).toContain(packageJson.version);
  } finally {
    await walk.close();
  }
});
