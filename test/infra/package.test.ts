import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { bundles } from "../../infra/bundle.ts";
import { startCa, startProxy } from "../../infra/demo/processes.ts";
import { programAvailable } from "../support/programs.ts";
import { startWalk, type StandIn } from "../support/walk.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "countersign-package-"));
const installed = join(folder, "node_modules", "countersign");
let paths: readonly string[];
let tarball: string;

// What "npm install countersign-0.1.0.tgz" leaves, without a registry: the tarball, and beside it the packages that the bundles do not carry.
beforeAll(() => {
  const report = execFileSync("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const parsed = JSON.parse(report) as PackReport[] | Record<string, PackReport>;
  const [packed] = Object.values(parsed);
  paths = packed!.files.map(({ path }) => path);
  tarball = packed!.filename;
  install(join(folder, tarball), join(folder, "node_modules"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function install(path: string, into: string): void {
  mkdirSync(join(into, "countersign"), { recursive: true });
  execFileSync("tar", ["-xzf", path, "-C", join(into, "countersign"), "--strip-components", "1"]);
  for (const name of outside) symlinkSync(join(root, "node_modules", name), join(into, name));
}

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

const hasSystemd = ["curl", "systemctl", "systemd-sysusers"].every(programAvailable);
if (!hasSystemd) console.warn("SKIPPED: installation on a machine with systemd (packages systemd, curl)");

test.skipIf(!hasSystemd)("is installed on a machine with systemd by the README's commands: users, units that are enabled, and the programs that they start", { timeout: 60_000 }, async () => {
  const npm: StandIn = ([command, ...rest], _input, at) => {
    if (command === "pack" && rest.length === 0) copyFileSync(join(folder, tarball), join(at, tarball));
    else if (command === "install" && rest.join(" ") === `-g ./${tarball}`) {
      install(join(at, tarball), join(at, "machine/usr/local/lib/node_modules"));
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
