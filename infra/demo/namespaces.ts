import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";

/** Hosts of their own on one wire: network namespaces joined by a bridge that stands in a namespace of its own. */
export interface Namespaces {
  /** Of the wire: there an interface named as a host sees all that this host sends and receives. */
  readonly wire: string;
  /** By the host's short name. */
  readonly hosts: Readonly<Record<string, NamespaceHost>>;
  /** Whatever runs there has to be ended before. */
  remove(): void;
}

export interface NamespaceHost {
  readonly namespace: string;
  readonly address: string;
  /** Undefined where none was asked for. */
  readonly address6: string | undefined;
}

/** Whether this machine lets us make network namespaces, and run these commands in them. */
export function canMakeNamespaces(...commands: readonly (readonly string[])[]): boolean {
  const name = `cs-try-${randomBytes(3).toString("hex")}`;
  if (spawnSync("ip", ["netns", "add", name], { stdio: "ignore" }).status !== 0) return false;
  const usable = [["true"], ...commands].every((command) => spawnSync("ip", ["netns", "exec", name, ...command], { stdio: "ignore" }).status === 0);
  spawnSync("ip", ["netns", "del", name]);
  return usable;
}

/**
 * Makes a host for each name, at 10.77.0.1, .2 and so on, and at fd77::1, ::2 and so on. Nothing of the machine's own network is touched.
 * @throws {Error} of `ip`; nothing is left then
 */
export function makeNamespaces(names: readonly string[], { ipv6 = false }: { readonly ipv6?: boolean } = {}): Namespaces {
  const tag = randomBytes(2).toString("hex");
  const wire = `cs${tag}-wire`;
  const made = [wire];
  const ip = (...args: readonly string[]): void => void execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
  const remove = (): void => {
    for (const namespace of made) spawnSync("ip", ["netns", "del", namespace]);
  };
  try {
    ip("netns", "add", wire);
    ip("-n", wire, "link", "add", "wire", "type", "bridge");
    ip("-n", wire, "link", "set", "wire", "up");
    const hosts = names.map((name, index): [string, NamespaceHost] => {
      const namespace = `cs${tag}-${name}`;
      const address = `10.77.0.${index + 1}`;
      const address6 = ipv6 ? `fd77::${index + 1}` : undefined;
      made.push(namespace);
      ip("netns", "add", namespace);
      ip("-n", namespace, "link", "set", "lo", "up");
      ip("-n", wire, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", namespace);
      ip("-n", wire, "link", "set", name, "master", "wire", "up");
      ip("-n", namespace, "address", "add", `${address}/24`, "dev", "eth0");
      ip("-n", namespace, "link", "set", "eth0", "up");
      if (address6 !== undefined) ip("-n", namespace, "address", "add", `${address6}/64`, "dev", "eth0", "nodad");
      return [name, { namespace, address, address6 }];
    });
    return { wire, hosts: Object.fromEntries(hosts), remove };
  } catch (error) {
    remove();
    throw error;
  }
}
