import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { configTable as caTable } from "../../ca/config/table.ts";
import { configTable as proxyTable } from "../../proxy/config/table.ts";
import { programAvailable } from "../support/programs.ts";

const source = fileURLToPath(new URL("../../infra/systemd", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "countersign-systemd-"));
afterAll(() => rmSync(folder, { recursive: true }));
const units = readdirSync(source).filter((name) => name.endsWith(".service"));
const settings = new Set([...caTable, ...proxyTable].map(({ env }) => env));
const valuesOf = (unit: string, key: string): readonly string[] =>
  [...readFileSync(join(source, unit), "utf8").matchAll(new RegExp(`^${key}=(.*)$`, "gm"))].map(([, value]) => value ?? "");

describe.each(units)("%s", (unit) => {
  test("starts a program of the package, with settings there are", () => {
    for (const command of [...valuesOf(unit, "ExecStart"), ...valuesOf(unit, "ExecStop")]) {
      expect(Object.keys(packageJson.bin)).toContain(/^\/usr\/local\/bin\/(\S+)/.exec(command)?.[1]);
    }
    for (const variable of valuesOf(unit, "Environment")) expect(settings).toContain(variable.split("=")[0]);
  });

  test("runs without root, or with no more than the firewall needs, and cannot become more", () => {
    const capabilities = valuesOf(unit, "CapabilityBoundingSet");
    expect(capabilities).toEqual(valuesOf(unit, "User").length > 0 ? [""] : ["CAP_NET_ADMIN CAP_NET_RAW"]);
    expect([valuesOf(unit, "NoNewPrivileges"), valuesOf(unit, "ProtectSystem")]).toEqual([["yes"], ["strict"]]);
  });
});

test("users are those that the units name", () => {
  const users = [...readFileSync(join(source, "countersign.sysusers"), "utf8").matchAll(/^u (\S+)/gm)].map(([, user]) => user);
  expect(users.sort()).toEqual([...new Set(units.flatMap((unit) => valuesOf(unit, "User")))].sort());
  expect(valuesOf("countersign-intercept.service", "ExecStart")[0]).toContain(`--proxy-user ${valuesOf("countersign-proxy@.service", "User")[0]}`);
});

describe.skipIf(!programAvailable("systemd-analyze"))("systemd itself", () => {
  // It looks whether programs are there, so the copies start one that is.
  const copies = units.map((unit) => {
    const copy = join(folder, unit.replace("@.", "@cart."));
    writeFileSync(copy, readFileSync(join(source, unit), "utf8").replace(/\/usr\/local\/bin\/countersign(-proxy)?/g, "/bin/true"));
    return copy;
  });

  test("understands every line", () => {
    const { status, stdout, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", ...copies], { encoding: "utf8" });
    // What this machine lacks is no fault of the units.
    const about = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("countersign"));
    expect(about, `status ${status}`).toEqual([]);
  });

  test("finds little left to take away from what listens on the network", () => {
    for (const copy of copies) {
      const report = execFileSync("systemd-analyze", ["security", "--offline=true", "--no-pager", copy], { encoding: "utf8" });
      const exposure = Number(/exposure level for \S+ ([\d.]+)/.exec(report)?.[1]);
      expect(exposure, copy).toBeLessThan(copy.includes("intercept") ? 4.5 : 2);
    }
  });
});
