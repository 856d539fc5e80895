import { execFileSync, spawnSync } from "node:child_process";
import { chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import packageJson from "../../package.json" with { type: "json" };
import { configTable as caTable } from "../../ca/config/table.ts";
import { configTable as proxyTable } from "../../proxy/config/table.ts";
import { interceptContainer } from "../../ca/inject/containers.ts";
import type { SoftwareBill } from "../../infra/containers/sbom.ts";
import { loopbackPlace, type Place } from "../../infra/demo/place.ts";
import { startCa, startProxy } from "../../infra/demo/processes.ts";
import { programAvailable } from "../support/programs.ts";
import { sharedWithProxy } from "../support/proxy-sources.ts";
import { imageUser, inReadOnlyRoot } from "../support/read-only-root.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const source = join(root, "infra/containers");
const folder = mkdtempSync(join(tmpdir(), "countersign-containers-"));
const images = ["ca", "proxy"] as const;
const { services } = parse(readFileSync(join(source, "compose.yaml"), "utf8"), { merge: true }) as { services: Record<string, Service> };
const filesOf = (image: string): readonly string[] =>
  readdirSync(join(folder, image), { recursive: true, encoding: "utf8" }).filter((path) => statSync(join(folder, image, path)).isFile()).sort();
const dockerfileOf = (image: string): string => readFileSync(join(source, `${image}.Dockerfile`), "utf8");
/** What is built in, line by line, and what ships. */
const stagesOf = (image: string): readonly string[] => dockerfileOf(image).split(/^FROM .*$/m).slice(1);
/** What a COPY of the stage that builds takes from the project, and where to. */
const copiesOf = (image: string): readonly { readonly from: readonly string[]; readonly to: string }[] =>
  [...stagesOf(image)[0]!.matchAll(/^COPY (.+) (\S+)$/gm)].map(([, from = "", to = ""]) => ({ from: from.split(" "), to }));

/** As "docker build" does, which no engine is here for: from what the stage copies and from nothing else, by the command that it runs. */
function build(image: (typeof images)[number]): void {
  const stage = join(folder, `${image}-build`);
  for (const { from, to } of copiesOf(image)) {
    for (const path of from) cpSync(join(root, path), join(stage, to, to.endsWith("/") ? basename(path) : ""), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(stage, "node_modules"));
  const [, script, ...args] = /^RUN node (\S+) (\S+) \/image/m.exec(stagesOf(image)[0]!)!;
  execFileSync(process.execPath, [script!, ...args, join(folder, image)], { cwd: stage });
}

beforeAll(() => images.forEach(build));
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
    const [, final = ""] = stagesOf(image);
    const entry = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(final)?.[1] ?? "[]") as string[];
    expect(existsSync(join(folder, image, entry[1] ?? "absent"))).toBe(true);
    expect(final).toContain(`\nUSER ${imageUser}:${imageUser}\n`);
    for (const [, path] of final.matchAll(/^COPY --from=build (?:--chown=\S+ )?\/image\/(app|data) /gm)) expect(existsSync(join(folder, image, path!))).toBe(true);
    expect(stagesOf(image)[0]).toContain(`node infra/containers/image.ts ${image} /image`);
  });
});

test.each([...images, "intercept"])("the image of %s is built from what is sent to the engine, which is what it may import", (image) => {
  const sent = readFileSync(join(source, `${image}.Dockerfile.dockerignore`), "utf8").split("\n").filter((line) => line.startsWith("!")).map((line) => line.slice(1));
  const copied = copiesOf(image).flatMap(({ from }) => from);
  for (const path of copied) expect(sent.filter((entry) => path === entry || path.startsWith(`${entry}/`)), path).toHaveLength(1);
  const ofCa = copied.filter((path) => path.startsWith("ca/") || path === "ca");
  expect(ofCa.sort()).toEqual(image === "ca" ? ["ca"] : sharedWithProxy.map((path) => path.replace(/\/$/, "")).sort());
  expect(copied.includes("proxy")).toBe(image !== "ca");
});

test("the image that redirects a pod's connections is the proxy's program beside nft", () => {
  const dockerfile = dockerfileOf("intercept");
  expect(copiesOf("intercept")).toEqual(copiesOf("proxy"));
  expect(dockerfile).toContain("node infra/containers/image.ts proxy /image");
  expect(dockerfile).toMatch(/apt-get install .* nftables /);
  expect(dockerfile).toContain('ENTRYPOINT ["/usr/local/bin/node", "/app/dist/countersign-proxy.js"]');
});

const [nft] = ["/usr/sbin/nft"].filter((path) => existsSync(path));
if (nft === undefined) console.warn("SKIPPED: redirecting a pod's connections with an image's rights (package nftables)");
const canContain = process.getuid?.() === 0 && spawnSync("unshare", ["--mount", "true"]).status === 0;
if (!canContain) console.warn("Tests of the images with a read-only root are skipped: they need Linux and root.");

describe.skipIf(!canContain)("with a read-only root, as a user who may nothing", () => {
  const entryOf = (image: string): string => (JSON.parse(/^ENTRYPOINT (.*)$/m.exec(stagesOf(image)[1]!)![1]!) as string[])[1]!;
  const placeIn = (enter: readonly string[]): Place => ({ ...loopbackPlace(), enter });
  /** Seen from outside, and by root. */
  const written = (pid: number, path: string): unknown => {
    try {
      return writeFileSync(`/proc/${pid}/root${path}`, "");
    } catch (error) {
      return (error as NodeJS.ErrnoException).code;
    }
  };
  function expectContained(pid: number): void {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    expect(status).toMatch(new RegExp(`^Uid:(\\t${imageUser}){4}$`, "m"));
    expect(status).toMatch(/^CapEff:\t0{16}$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    for (const path of ["/x", "/app/x", "/app/dist/x", "/usr/x", "/usr/lib/x"]) expect([path, written(pid, path)]).toEqual([path, "EROFS"]);
  }

  test("the CA issues and its health check holds with /data alone to write to, and the proxy gets its identity with nothing", async () => {
    const data = join(folder, "data");
    mkdirSync(data, { mode: 0o700 });
    chownSync(data, imageUser, imageUser);
    const caEnter = inReadOnlyRoot({ root: join(folder, "ca"), volume: { path: "/data", folder: data } });
    const [caProgram, proxyProgram] = images.map((image) => relative(root, entryOf(image)));
    const ca = await startCa({ dataDir: "/data", program: caProgram!, place: placeIn(caEnter) });
    try {
      expectContained(ca.pid);
      expect(written(ca.pid, "/data/x")).toBeUndefined();
      const exec = (...args: readonly string[]): string => {
        const [command, ...first] = [...caEnter, process.execPath, entryOf("ca"), ...args];
        return execFileSync(command!, first, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], env: { PATH: process.env["PATH"], COUNTERSIGN_URL: ca.url, COUNTERSIGN_DATA_DIR: "/data" } });
      };
      const [, , , ...health] = services["ca"]!.healthcheck!.test;
      expect(exec(...health)).toEqual(expect.any(String));
      const bootstrap = exec("token", "create", "--id", "spiffe://countersign.local/world");
      const proxy = await startProxy({ bootstrap, app: 1, program: proxyProgram!, place: placeIn(inReadOnlyRoot({ root: join(folder, "proxy") })) });
      expectContained(proxy.pid);
      expect(await proxy.stop()).toBe(0);
    } finally {
      expect(await ca.stop()).toBe(0);
    }
    expect(readdirSync(data)).toContain("root.pem");
  });

  test.skipIf(nft === undefined)("a pod's connections are redirected by the container that the injector adds, as root with no more than the capabilities it gives", () => {
    const settings = { caUrl: "https://ca:8443", trustDomain: "east", roots: "", proxyImage: "p", interceptImage: "i" };
    const { args, securityContext } = interceptContainer(settings, {
      appPort: 8080, intercepted: "all", transparentDefault: "refuse", inboundMode: "strict", skipInboundPorts: [9090], skipOutboundPorts: [], metrics: true,
    });
    expect(securityContext).toMatchObject({ runAsUser: 0, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } });
    const intercept = join(folder, "intercept");
    cpSync(join(folder, "proxy/app"), join(intercept, "app"), { recursive: true });
    const enter = inReadOnlyRoot({ root: intercept, capabilities: securityContext.capabilities.add, programs: [nft!] });
    // In a network of its own, as a pod is.
    const script = `"$@" ${args.join(" ")}; "$@" intercept status`;
    const said = execFileSync("unshare", ["--net", "sh", "-ec", script, "sh", ...enter, process.execPath, entryOf("intercept")], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    expect(said).toContain("Installed by nft");
    expect(said).toMatch(/tcp dport \{ 4141, 4143, 4192, 9090 \} return/);
    expect(said).toMatch(/meta skuid 64143 return/);
  });
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

/** Of either generation; the older one, which Debian has, does not know the name at the top yet. */
const compose = spawnSync("docker", ["compose", "version"]).status === 0 ? ["docker", "compose"] : programAvailable("docker-compose") ? ["docker-compose"] : undefined;

describe.skipIf(compose === undefined)("Docker Compose itself", () => {
  const [command, ...first] = compose ?? [""];
  function config(change: (text: string) => string): { readonly status: number | null; readonly services: Readonly<Record<string, Service>>; readonly said: string } {
    const path = join(folder, "compose.yaml");
    const text = change(readFileSync(join(source, "compose.yaml"), "utf8"));
    writeFileSync(path, command === "docker" ? text : text.replace(/^name: .*$/m, ""));
    const { status, stdout, stderr } = spawnSync(command!, [...first, "-f", path, "config"], { encoding: "utf8", env: { PATH: process.env["PATH"], HELLO_JOIN: "cs1.hello" } });
    return { status, said: stderr, services: status === 0 ? (parse(stdout) as { services: Record<string, Service> }).services : {} };
  }

  test("understands every line, and puts the bootstrap strings where they are meant to be", () => {
    const read = config((text) => text);
    expect([read.status, Object.keys(read.services).sort()]).toEqual([0, Object.keys(services).sort()]);
    expect(read.services["hello"]?.environment).toMatchObject({ COUNTERSIGN_BOOTSTRAP: "cs1.hello" });
    expect(read.services["ca"]?.healthcheck?.test).toEqual(services["ca"]!.healthcheck!.test);
    for (const { read_only: readOnly } of Object.values(read.services)) expect(readOnly).toBe(true);
  });

  test("would say so, were there a mistake", () => {
    expect(config((text) => text.replace("  read_only: true", "  read_onli: true"))).toMatchObject({ status: expect.not.toBeOneOf([0]) as number, said: expect.stringContaining("read_onli") as string });
    expect(config((text) => text.replace("service:world", "service:wrold")).status).not.toBe(0);
  });
});

interface Service {
  readonly environment?: Readonly<Record<string, string>>;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly network_mode?: string;
  readonly build?: { readonly dockerfile: string };
  readonly healthcheck?: { readonly test: readonly string[] };
}
