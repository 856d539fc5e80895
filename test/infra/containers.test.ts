import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import packageJson from "../../package.json" with { type: "json" };
import { configTable as caTable } from "../../ca/config-table.ts";
import { configTable as proxyTable } from "../../proxy/config-table.ts";
import { layOutImage } from "../../infra/containers/image.ts";
import type { SoftwareBill } from "../../infra/containers/sbom.ts";
import { startCa, startProxy } from "../../infra/demo/processes.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const source = join(root, "infra/containers");
const folder = mkdtempSync(join(tmpdir(), "countersign-containers-"));
const images = ["ca", "proxy"] as const;
const filesOf = (image: string): readonly string[] =>
  readdirSync(join(folder, image), { recursive: true, encoding: "utf8" }).filter((path) => statSync(join(folder, image, path)).isFile()).sort();
const digest = (): string => {
  const hash = createHash("sha256");
  for (const image of images) for (const path of filesOf(image)) hash.update(path).update(readFileSync(join(folder, image, path)));
  return hash.digest("hex");
};

// What "docker build" makes of the same list, but for Node.js and its C libraries: no container engine is needed here.
beforeAll(async () => {
  for (const image of images) await layOutImage(image, join(folder, image));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("the image of the", () => {
  test("proxy has one program and no package", () => {
    expect(filesOf("proxy")).toEqual(["app/LICENSE", "app/dist/countersign-proxy.js", "app/package.json", "app/sbom.cdx.json"]);
  });

  test("CA has its bundle, its migrations and SQLite for this system alone, and neither sources nor tools", () => {
    const files = filesOf("ca");
    expect(files.filter((path) => path.endsWith(".node"))).toEqual([`app/node_modules/better-sqlite3/prebuilds/${process.platform}-${process.arch}.node`]);
    expect(files.filter((path) => /\.(ts|c|h|gyp|sh)$|snapshot|\/test\//.test(path))).toEqual([]);
    expect(readdirSync(join(folder, "ca/data"))).toEqual([]);
    expect(statSync(join(folder, "ca/data")).mode & 0o077).toBe(0);
  });

  test.each(images)("%s starts as its Dockerfile says, from what was laid out", (image) => {
    const dockerfile = readFileSync(join(source, `${image}.Dockerfile`), "utf8");
    const [final = ""] = dockerfile.split(/^FROM /m).slice(-1);
    const entry = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(final)?.[1] ?? "[]") as string[];
    expect(existsSync(join(folder, image, entry[1] ?? "absent"))).toBe(true);
    expect(final).toMatch(/^USER 65532:65532$/m);
    for (const [, path] of final.matchAll(/^COPY --from=build (?:--chown=\S+ )?\/image\/(app|data) /gm)) expect(existsSync(join(folder, image, path!))).toBe(true);
    expect(dockerfile).toContain(`node infra/containers/image.ts ${image} /image`);
  });
});

test("the image that redirects a pod's connections is the proxy's program beside nft", () => {
  const dockerfile = readFileSync(join(source, "intercept.Dockerfile"), "utf8");
  expect(dockerfile).toContain("node infra/containers/image.ts proxy /image");
  expect(dockerfile).toMatch(/apt-get install .* nftables /);
  expect(dockerfile).toContain('ENTRYPOINT ["/usr/local/bin/node", "/app/dist/countersign-proxy.js"]');
});

test("they run with nothing writable but the CA's data folder, and leave the rest as it was", async () => {
  const before = digest();
  const ca = await startCa({ dataDir: join(folder, "state"), program: relative(root, join(folder, "ca/app/dist/countersign.js")) });
  try {
    const bootstrap = execFileSync(process.execPath, [join(folder, "ca/app/dist/countersign.js"), "token", "create", "--id", "spiffe://countersign.local/world"], {
      encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], env: { COUNTERSIGN_URL: ca.url, COUNTERSIGN_DATA_DIR: ca.dataDir },
    });
    const proxy = await startProxy({ bootstrap, app: 1, program: relative(root, join(folder, "proxy/app/dist/countersign-proxy.js")) });
    expect(await proxy.stop()).toBe(0);
  } finally {
    expect(await ca.stop()).toBe(0);
  }
  expect(digest()).toBe(before);
});

describe("the software bill of materials", () => {
  const billOf = (image: string): SoftwareBill => JSON.parse(readFileSync(join(folder, image, "app/sbom.cdx.json"), "utf8")) as SoftwareBill;

  test("names what the CA's bundle carries and no tool of ours", () => {
    const names = billOf("ca").components.map(({ name }) => name);
    for (const name of ["better-sqlite3", "hono", "pg", "pino", "yaml"]) expect(names).toContain(name);
    for (const name of Object.keys(packageJson.devDependencies)) expect(names).not.toContain(name);
    expect(billOf("ca").metadata.component.name).toBe("countersign");
  });

  test("says that the proxy is made of nothing else", () => {
    expect(billOf("proxy")).toMatchObject({ components: [], metadata: { component: { name: "countersign-proxy" } } });
  });
});

describe("compose.yaml", () => {
  const { services } = parse(readFileSync(join(source, "compose.yaml"), "utf8"), { merge: true }) as { services: Record<string, Service> };

  test("sets what there is to set, and runs all of it read-only and without capabilities", () => {
    const settings = new Set([...caTable, ...proxyTable].map(({ env }) => env));
    for (const [name, { environment = {}, read_only: readOnly, cap_drop: dropped, build }] of Object.entries(services)) {
      expect([name, readOnly, dropped]).toEqual([name, true, ["ALL"]]);
      for (const variable of Object.keys(environment)) if (variable.startsWith("COUNTERSIGN")) expect(settings).toContain(variable);
      if (build !== undefined) expect(existsSync(join(root, build.dockerfile))).toBe(true);
    }
  });

  test("gives each app its proxy's network, so that it can listen on loopback alone", () => {
    expect([services["world-app"]?.network_mode, services["hello-app"]?.network_mode]).toEqual(["service:world", "service:hello"]);
  });
});

interface Service {
  readonly environment?: Readonly<Record<string, string>>;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly network_mode?: string;
  readonly build?: { readonly dockerfile: string };
}
