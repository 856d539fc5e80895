import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { parseArgs } from "node:util";
import type { InterceptPlan, PortRange } from "./rules.ts";

/** What stands after `countersign-proxy intercept`. */
export interface InterceptCommand {
  readonly action: "install" | "remove" | "status";
  /** Undefined for remove and status. */
  readonly plan: InterceptPlan | undefined;
  /** The rules are printed and nothing is changed. */
  readonly dryRun: boolean;
}

/** A command line that cannot be carried out; the message says what to write instead. */
export class InterceptUsageError extends Error {
  override readonly name = "InterceptUsageError";
}

/**
 * Reads the command line.
 * @param usersFile  where user names are looked up, as in passwd(5)
 * @throws {InterceptUsageError}
 */
export function parseInterceptCommand(args: readonly string[], usersFile = "/etc/passwd"): InterceptCommand {
  const { values, positionals } = parsed(args);
  const [action, ...rest] = positionals;
  if (rest.length > 0 || !isAction(action)) throw new InterceptUsageError("write install, remove or status behind intercept; see countersign-proxy intercept --help");
  if (action !== "install") return { action, plan: undefined, dryRun: values["dry-run"] ?? false };
  const user = values["proxy-user"];
  if (user === undefined) {
    throw new InterceptUsageError("--proxy-user is missing: name the user that the proxy runs as and nothing else does, or its own connections would come back to it");
  }
  const inboundPort = port("inbound", values.inbound ?? defaultInbound);
  const outboundPort = port("outbound", values.outbound ?? defaultOutbound);
  if (inboundPort === undefined && outboundPort === undefined) throw new InterceptUsageError("with --inbound off and --outbound off there is nothing to intercept");
  const plan: InterceptPlan = {
    proxyUserId: userId(user, usersFile), inboundPort, outboundPort,
    skipInboundPorts: ranges("skip-inbound-ports", values["skip-inbound-ports"] ?? defaultSkipInbound),
    skipOutboundPorts: ranges("skip-outbound-ports", values["skip-outbound-ports"] ?? ""),
    skipAddresses: list(values["skip-addresses"] ?? "").map(network),
  };
  return { action, plan, dryRun: values["dry-run"] ?? false };
}

/** What `countersign-proxy intercept --help` prints. */
export const interceptHelp = `countersign-proxy intercept: apps need no setting to use the proxy

  countersign-proxy intercept install --proxy-user countersign-proxy
      sends the TCP connections of this host, or network namespace, through
      the proxy; again after a reboot
  countersign-proxy intercept status
  countersign-proxy intercept remove

Needs root and nft, whose table "inet countersign" is all that changes; or
iptables and ip6tables where there is no nft. The proxy listens with
--transparent localhost:4141. Then look:
countersign-proxy verify-wire --interface any

  --proxy-user USER           who the proxy runs as; nothing else may run as it
  --inbound PORT|off          the proxy's inbound port [default: 4143]
  --outbound PORT|off         the proxy's transparent port [default: 4141]
  --skip-inbound-ports LIST   ports of this host that stay as they are,
                              e.g. 22,9000-9100 [default: 22]
  --skip-outbound-ports LIST  ports elsewhere that apps go on to reach directly
  --skip-addresses LIST       addresses or networks that are left alone,
                              e.g. 10.0.0.53,10.1.0.0/16
  --dry-run                   print the rules and change nothing
`;

function parsed(args: readonly string[]) {
  try {
    const text = { type: "string" } as const;
    return parseArgs({
      args: [...args], allowPositionals: true,
      options: {
        "proxy-user": text, inbound: text, outbound: text, "skip-inbound-ports": text, "skip-outbound-ports": text, "skip-addresses": text,
        "dry-run": { type: "boolean" },
      },
    });
  } catch (cause) {
    throw new InterceptUsageError(`${(cause as Error).message}; see countersign-proxy intercept --help`, { cause });
  }
}

function isAction(word: string | undefined): word is InterceptCommand["action"] {
  return word === "install" || word === "remove" || word === "status";
}

function userId(user: string, usersFile: string): number {
  if (/^\d{1,10}$/.test(user)) return Number(user);
  const line = readFileSync(usersFile, "utf8").split("\n").find((entry) => entry.startsWith(`${user}:`));
  const id = Number(line?.split(":")[2]);
  if (line === undefined || !Number.isSafeInteger(id)) throw new InterceptUsageError(`there is no user ${user} on this host; make one with: useradd --system ${user}`);
  return id;
}

function port(flag: string, text: string): number | undefined {
  if (text === "off") return undefined;
  const [range] = ranges(flag, text);
  if (range === undefined || range.first !== range.last) throw new InterceptUsageError(`--${flag} ${text}: write one port, or off`);
  return range.first;
}

function ranges(flag: string, text: string): readonly PortRange[] {
  return list(text).map((part) => {
    const [, first = "", last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    const range = { first: Number(first), last: Number(last) };
    if (first === "" || range.first < 1 || range.last > 65_535 || range.first > range.last) {
      throw new InterceptUsageError(`--${flag}: "${part}" is not a port or a range of ports such as 9000-9100`);
    }
    return range;
  });
}

/** What comes out goes into a script for nft, so nothing but digits, letters, colons and dots may. */
function network(text: string): string {
  const [address = "", bits, ...rest] = text.split("/");
  const family = isIP(address);
  const valid = family !== 0 && !address.includes("%") && rest.length === 0 && (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)));
  if (!valid) throw new InterceptUsageError(`--skip-addresses: "${text}" is not an IP address or a network such as 10.1.0.0/16`);
  return text;
}

function list(text: string): readonly string[] {
  return text.split(",").map((part) => part.trim()).filter((part) => part !== "");
}

const defaultInbound = "4143";
const defaultOutbound = "4141";
/** Who administers the host by SSH is not to be locked out. */
const defaultSkipInbound = "22";
