import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { once } from "node:events";

/** Hosts of their own on one wire: network namespaces joined by a bridge that stands in a namespace of its own. */
export interface TestNetwork {
  /** The namespace of the wire: a capture there on the interface named as a host sees all that this host sends and receives. */
  readonly wire: TestHost;
  /** By the host's short name. */
  readonly hosts: Readonly<Record<string, TestHost>>;
  remove(): void;
}

export interface TestHost {
  readonly namespace: string;
  readonly address: string;
  /** Undefined where this machine has no IPv6. */
  readonly address6: string | undefined;
  /** Runs a command on the host to its end. @throws {Error} when it fails */
  run(command: string, args: readonly string[], env?: Readonly<Record<string, string>>): string;
  /** Starts a command on the host with nothing but PATH in its environment, and what is given. */
  start(command: string, args: readonly string[], env?: Readonly<Record<string, string>>): ChildProcess;
}

/** Whether this machine lets us make network namespaces. */
export function canMakeNetworks(): boolean {
  const name = `cs-try-${randomBytes(3).toString("hex")}`;
  if (spawnSync("ip", ["netns", "add", name], { stdio: "ignore" }).status !== 0) return false;
  const usable = [["nft", "list", "tables"], ["iptables", "-t", "nat", "-S"]].every((command) => spawnSync("ip", ["netns", "exec", name, ...command], { stdio: "ignore" }).status === 0);
  spawnSync("ip", ["netns", "del", name]);
  return usable;
}

/** Makes a host for each name, at 10.77.0.1, .2 and so on, and at fd77::1, ::2 and so on. */
export function makeNetwork(...names: readonly string[]): TestNetwork {
  const tag = randomBytes(2).toString("hex");
  const wire = `cs${tag}-wire`;
  const namespaces = [wire];
  const hostIn = (namespace: string, address: string, address6?: string): TestHost => {
    const inside = ["netns", "exec", namespace];
    return {
      namespace, address, address6,
      run: (command, args, env = {}) => execFileSync("ip", [...inside, command, ...args], { encoding: "utf8", env: { ...bareEnvironment(), ...env }, timeout: commandTimeoutMs, stdio: ["ignore", "pipe", "pipe"] }),
      start: (command, args, env = {}) => spawn("ip", [...inside, command, ...args], { env: { ...bareEnvironment(), ...env }, stdio: ["ignore", "pipe", "pipe"] }),
    };
  };
  const ip = (...args: readonly string[]): void => void execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
  const remove = (): void => {
    for (const namespace of namespaces) spawnSync("ip", ["netns", "del", namespace]);
  };
  try {
    ip("netns", "add", wire);
    ip("-n", wire, "link", "add", "wire", "type", "bridge");
    ip("-n", wire, "link", "set", "wire", "up");
    const hosts = names.map((name, index): [string, TestHost] => {
      const namespace = `cs${tag}-${name}`;
      const address = `10.77.0.${index + 1}`;
      const address6 = hasIpv6 ? `fd77::${index + 1}` : undefined;
      namespaces.push(namespace);
      ip("netns", "add", namespace);
      ip("-n", namespace, "link", "set", "lo", "up");
      ip("-n", wire, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", namespace);
      ip("-n", wire, "link", "set", name, "master", "wire", "up");
      ip("-n", namespace, "address", "add", `${address}/24`, "dev", "eth0");
      ip("-n", namespace, "link", "set", "eth0", "up");
      if (address6 !== undefined) ip("-n", namespace, "address", "add", `${address6}/64`, "dev", "eth0", "nodad");
      return [name, hostIn(namespace, address, address6)];
    });
    return { wire: hostIn(wire, ""), hosts: Object.fromEntries(hosts), remove };
  } catch (error) {
    remove();
    throw error;
  }
}

/** Waits until what a process prints has all of the texts. */
export async function printed({ stdout, stderr, exitCode }: ChildProcess, ...texts: readonly string[]): Promise<void> {
  let output = "";
  if (exitCode !== null) throw new Error(`the process ended with ${exitCode} before it printed "${texts.join('", "')}"`);
  for await (const chunk of mergeOf(stdout!, stderr!)) {
    output += String(chunk);
    if (texts.every((text) => output.includes(text))) return;
  }
  throw new Error(`the process ended before it printed "${texts.join('", "')}":\n${output}`);
}

async function* mergeOf(...streams: readonly NodeJS.ReadableStream[]): AsyncGenerator<unknown> {
  const queue: unknown[] = [];
  let open = streams.length;
  let wake: (() => void) | undefined;
  for (const stream of streams) {
    stream.on("data", (chunk) => { queue.push(chunk); wake?.(); });
    stream.on("end", () => { open -= 1; wake?.(); });
  }
  while (open > 0 || queue.length > 0) {
    if (queue.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    while (queue.length > 0) yield queue.shift();
  }
}

/** Ends a process that `start` began, and waits for its end. */
export async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}

function bareEnvironment(): Record<string, string> {
  return { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };
}

const hasIpv6 = existsSync("/proc/net/if_inet6");
const commandTimeoutMs = 20_000;
