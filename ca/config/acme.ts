import { isIP } from "node:net";
import { parseIpRange } from "../pki/ip-address.ts";
import { parseObject } from "../pki/json.ts";
import { nearestName } from "../settings/spelling.ts";

/** Who gets DNS certificates by ACME, as the operator wrote it, checked. */
export interface AcmeConfig {
  /** Names that may be had at all: DNS names, or `*.` and what they end in. */
  readonly names: readonly string[];
  /** JSON file (0600) of those who may have accounts; undefined: whoever reaches the API. */
  readonly externalAccountsFile: string | undefined;
  /** `address:port` of a DNS server; undefined: the system's. */
  readonly resolver: string | undefined;
  /** Ranges, beside the public ones, where names may be proved. */
  readonly reach: readonly string[];
  readonly httpPort: number;
  readonly tlsPort: number;
}

/**
 * Reads the setting: a JSON object.
 * @param faults  gets a sentence for each thing that is wrong, so that all of them are told at once
 */
export function parseAcme(json: string, faults: string[]): AcmeConfig | undefined {
  const body = parseObject(json);
  if (body === undefined) return void faults.push('it is no JSON object, e.g. {"names": ["*.shop.internal"], "externalAccountsFile": "accounts.json"}');
  for (const member of Object.keys(body)) {
    if (members.includes(member)) continue;
    const near = nearestName(member, members);
    faults.push(`${member} is not known; ${near === undefined ? `there are ${members.join(", ")}` : `did you mean ${near}?`}`);
  }
  const list = (member: string, fits: (text: string) => boolean, hint: string): readonly string[] => {
    const found = body[member] ?? [];
    if (Array.isArray(found) && found.length <= maxItems && found.every((item) => typeof item === "string" && fits(item))) return found as string[];
    faults.push(`${member} is refused: ${hint}`);
    return [];
  };
  const text = (member: string, fits: (text: string) => boolean, hint: string): string | undefined => {
    const found = body[member];
    if (found === undefined || (typeof found === "string" && fits(found))) return found;
    return void faults.push(`${member} is refused: ${hint}`);
  };
  const port = (member: string, fallback: number): number => {
    const found = body[member] ?? fallback;
    if (typeof found === "number" && Number.isInteger(found) && found > 0 && found < 65_536) return found;
    faults.push(`${member} is no port`);
    return fallback;
  };
  const names = list("names", (name) => dnsPattern.test(name) && isIP(name) === 0, "write DNS names in lower case, or *. and what the names end in");
  if (names.length === 0) faults.push("names is missing: nobody could have a certificate");
  const externalAccountsFile = text("externalAccountsFile", (path) => path !== "", "name a file");
  const { open } = body;
  if (open !== undefined && typeof open !== "boolean") faults.push("open is neither true nor false");
  if ((externalAccountsFile === undefined) !== (open === true)) faults.push('externalAccountsFile names those who may have accounts; "open": true lets everybody who reaches the API and proves a name. Choose one of them');
  return {
    names, externalAccountsFile,
    resolver: text("resolver", (server) => isIP(server.replace(/:\d+$/, "").replace(/^\[|\]$/g, "")) !== 0, "write an address, or address:port"),
    reach: list("reach", isRange, "write ranges such as 10.0.0.0/8 or fd00::/8"),
    httpPort: port("httpPort", 80), tlsPort: port("tlsPort", 443),
  };
}

function isRange(text: string): boolean {
  try {
    return parseIpRange(text).length > 0;
  } catch {
    return false;
  }
}

const members = ["names", "externalAccountsFile", "open", "resolver", "reach", "httpPort", "tlsPort"];
const dnsPattern = /^(?:\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const maxItems = 256;
