import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import type { FakeAnswer, FakeRequest } from "../support/fake-ca.ts";
import type { SoakProxy } from "./proxies.ts";

/** Something that happens to a mesh, and passes. */
export interface Trouble {
  readonly name: string;
  begin(): Promise<void>;
  end(): Promise<void>;
}

/** All but expiry: nobody may notice any of them. @param diskPath where the proxies keep their state; undefined: no file system of our own */
export function troublesOf(proxies: readonly SoakProxy[], diskPath: string | undefined): readonly Trouble[] {
  const all = async (act: (proxy: SoakProxy) => unknown): Promise<void> => void (await Promise.all(proxies.map(act)));
  const jump = (name: string, toMs: number): Trouble => ({ name, begin: () => all((proxy) => proxy.jump(toMs)), end: () => all((proxy) => proxy.jump(0)) });
  const texts = new Map(proxies.map(({ name, ca }) => [name, ca.core.bundleText]));
  const disk = diskPath === undefined ? [] : [{
    name: "the disk is read-only", begin: () => remount(diskPath, "ro"), end: () => remount(diskPath, "rw"),
  }];
  return [
    { name: "the CA is gone", begin: () => all(({ ca }) => ca.stop()), end: () => all(({ ca }) => ca.start()) },
    { name: "the CA is slow", begin: () => all(({ ca }) => (ca.delayMs = 1500)), end: () => all(({ ca }) => (ca.delayMs = 0)) },
    { name: "the CA accepts and says nothing", begin: () => all(({ ca }) => (ca.silent = true)), end: () => all(({ ca }) => (ca.silent = false)) },
    {
      name: "the CA answers nonsense",
      begin: () => all(({ ca }) => (ca.core.intercept = nonsense())), end: () => all(({ ca }) => (ca.core.intercept = () => undefined)),
    },
    {
      name: "the bundle is garbage",
      begin: () => all(({ ca, name }) => {
        ca.core.sequence += 1n;
        ca.core.bundleText = garbage(texts.get(name)!);
      }),
      end: () => all(({ ca, name }) => {
        ca.core.sequence += 1n;
        ca.core.bundleText = texts.get(name)!;
      }),
    },
    ...disk,
    jump("the clock is an hour ahead", hourMs),
    jump("the clock is an hour behind", -hourMs),
  ];
}

/** A different answer each time, none of which is one. */
function nonsense(): (request: FakeRequest) => FakeAnswer {
  const answers: readonly FakeAnswer[] = [
    { status: 200, headers: { "content-type": "text/html" }, body: "<html>Welcome to the captive portal</html>" },
    { status: 200, headers: { "content-type": "application/json" }, body: "{}" },
    { status: 200, headers: { "content-type": "application/json", etag: '"7"' }, body: '{"revocations":[{"sequence":"x"}],"policies":7,"keys":[null],"sequence":-1}' },
    { status: 201, headers: { "content-type": "application/json" }, body: '{"serialNumber":1,"chain":"-----BEGIN CERTIFICATE-----"}' },
    { status: 200, body: randomBytes(1000) },
    { status: 200, headers: { "content-type": "application/json" }, body: `[${"[".repeat(100_000)}` },
    { status: 200, headers: { "content-type": "application/json" }, body: Buffer.alloc(32 * 1024 * 1024, " ") },
    { status: 500, body: "oops" },
    { status: 304, body: "" },
    { status: 429, headers: { "retry-after": "soon" }, body: "" },
  ];
  let count = 0;
  return () => answers[count++ % answers.length]!;
}

function garbage(good: () => string): () => string {
  const texts = [() => "", () => "null", () => '{"keys":[]}', () => good().slice(0, -20), () => good().replaceAll(/[A-Za-z0-9+/]{40}/g, "A".repeat(40))];
  let count = 0;
  return () => texts[count++ % texts.length]!();
}

async function remount(path: string, how: "ro" | "rw"): Promise<void> {
  const { status, stderr } = spawnSync("mount", ["-o", `remount,${how}`, path], { encoding: "utf8" });
  if (status !== 0) throw new Error(`cannot remount ${path}: ${stderr}`);
}

const hourMs = 3_600_000;
