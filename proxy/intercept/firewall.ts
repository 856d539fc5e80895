import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chainOf, hookedIn, iptablesRemoval, iptablesRules, type Hooked, type IpFamily } from "./iptables-rules.ts";
import { interceptRules, removalRules, tableName, type InterceptPlan } from "./rules.ts";

/** Where the kernel's rules are written. */
export interface Firewall {
  readonly name: "nft" | "iptables";
  /** What would be written to install, or to remove where there is no plan. */
  script(plan: InterceptPlan | undefined): string;
  /** All or nothing; what there was of ours is replaced. @throws {InterceptError} */
  install(plan: InterceptPlan): void;
  /** Right too where there is nothing. @throws {InterceptError} */
  remove(): void;
  /** Our rules as the kernel has them; undefined when there are none. @throws {InterceptError} */
  installed(): string | undefined;
}

/** The rules could not be written; the message says what is missing. */
export class InterceptError extends Error {
  override readonly name = "InterceptError";
}

/** The ways this host has, the one that is used first: nft, or iptables where there is no nft. @throws {InterceptError} when there is neither */
export function firewalls(): readonly [Firewall, ...Firewall[]] {
  const [first, ...rest] = [...(exists("nft") ? [nftFirewall] : []), ...(exists("iptables-restore") ? [iptablesFirewall] : [])];
  if (first === undefined) throw new InterceptError("neither nft nor iptables is installed; install the package nftables");
  return [first, ...rest];
}

const nftFirewall: Firewall = {
  name: "nft",
  script: (plan) => (plan === undefined ? removalRules() : interceptRules(plan)),
  install: (plan) => void must("nft", ["-f", "-"], interceptRules(plan)),
  remove: () => void must("nft", ["-f", "-"], removalRules()),
  installed() {
    const isThere = must("nft", ["list", "tables"]).split("\n").includes(`table ${tableName}`);
    return isThere ? must("nft", ["list", "table", ...tableName.split(" ")]) : undefined;
  },
};

const iptablesFirewall: Firewall = {
  name: "iptables",
  script: (plan) => families.map((family) => (
    `# ${commandOf[family]}-restore --noflush\n${plan === undefined ? iptablesRemoval(bothHooked) : iptablesRules(plan, family, noneHooked)}`
  )).join(""),
  install(plan) {
    const done: IpFamily[] = [];
    try {
      for (const family of families) {
        must(`${commandOf[family]}-restore`, restoring, iptablesRules(plan, family, hookedIn(listed(family))));
        done.push(family);
      }
    } catch (error) {
      // A host that intercepts IPv4 only would let everything out by IPv6.
      for (const family of done) removeFamily(family);
      throw error;
    }
  },
  remove: () => families.forEach(removeFamily),
  installed() {
    const rules = families.flatMap((family) => listed(family).split("\n").filter((line) => names.some((name) => line.includes(name))).map((line) => `${commandOf[family]} -t nat ${line}\n`));
    return rules.some((rule) => rule.includes(" -j ")) ? rules.join("") : undefined;
  },
};

function removeFamily(family: IpFamily): void {
  const hooked = hookedIn(listed(family));
  if (Object.values(hooked).some(Boolean)) must(`${commandOf[family]}-restore`, restoring, iptablesRemoval(hooked));
}

/** Empty where there is no table nat, or one that iptables cannot read: then there is nothing of ours in it. */
function listed(family: IpFamily): string {
  return run(commandOf[family], ["-w", "-t", "nat", "-S"], "").stdout ?? "";
}

function exists(program: string): boolean {
  return (run(program, ["--version"], "").error as NodeJS.ErrnoException | undefined)?.code !== "ENOENT";
}

function must(program: string, args: readonly string[], input = ""): string {
  const { error, status, stdout, stderr } = run(program, args, input);
  if (error !== undefined) throw new InterceptError(`${program} could not be run: ${error.message}; ${whatIs}`);
  if (status === 0) return stdout;
  const hint = /not permitted|denied/i.test(stderr) ? "; run it as root, or with the capability CAP_NET_ADMIN" : "";
  throw new InterceptError(`${program} refused (${stderr.trim().split("\n")[0] || `exit code ${status}`})${hint}; ${whatIs}`);
}

function run(program: string, args: readonly string[], input: string) {
  return spawnSync(program, args, { input, encoding: "utf8", timeout: timeoutMs });
}

const commandOf: Readonly<Record<IpFamily, string>> = { 4: "iptables", 6: "ip6tables" };
/** Where the kernel has no IPv6, nothing can go out by it. */
const families: readonly IpFamily[] = existsSync("/proc/net/if_inet6") ? [4, 6] : [4];
const names = Object.values(chainOf);
const noneHooked: Hooked = { PREROUTING: false, OUTPUT: false };
const bothHooked: Hooked = { PREROUTING: true, OUTPUT: true };
/** Others may be writing, too: wait for them. */
const restoring = ["--noflush", "--wait"];
const whatIs = "`countersign-proxy intercept status` shows what is in force";
const timeoutMs = 10_000;
