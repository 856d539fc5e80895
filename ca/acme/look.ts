import { Resolver } from "node:dns/promises";
import type { AcmeConfig } from "../config/acme.ts";
import type { AcmeVitals } from "../contract/vitals.ts";
import { lookAtExternalAccounts } from "./accounts.ts";

/** What ACME needs, from here and now: the DNS server that names are looked up at, and the file of external accounts. */
export async function lookAtAcme({ resolver, externalAccountsFile, names }: Pick<AcmeConfig, "resolver" | "externalAccountsFile" | "names">): Promise<Omit<AcmeVitals, "failures">> {
  const [dns, accounts] = await Promise.all([lookAtResolver(resolver, names[0] ?? ""), externalAccountsFile === undefined ? undefined : lookAtExternalAccounts(externalAccountsFile)]);
  return { ...(dns !== undefined && { resolver: dns }), ...(accounts !== undefined && { accounts }) };
}

/** Any answer is one: that there is no such name, too. */
async function lookAtResolver(server: string | undefined, name: string): Promise<string | undefined> {
  const dns = new Resolver({ timeout: timeoutMs, tries: 1 });
  if (server !== undefined) dns.setServers([server]);
  try {
    await dns.resolve4(name.replace(/^\*\./, ""));
    return undefined;
  } catch (error) {
    const { code = "no reason" } = error as NodeJS.ErrnoException;
    return answers.includes(code) ? undefined : `the DNS server ${server ?? dns.getServers().join(", ")} does not answer (${code})`;
  } finally {
    dns.cancel();
  }
}

/** @source Node.js, dns: error codes */
const answers = ["ENOTFOUND", "ENODATA"];
const timeoutMs = 3000;
