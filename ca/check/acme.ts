import type { CheckFacts } from "./facts.ts";
import { finding, findingOf, type Finding, type Trouble } from "./finding.ts";

/** ACME, where it is spoken. */
export function judgeAcme({ vitals, acmeDirectory }: CheckFacts): readonly Finding[] {
  if (vitals?.acme === undefined) return [];
  const { acme: { resolver, accounts, failures }, publicUrl } = vitals;
  return [
    finding("acme-directory", judgeDirectory(acmeDirectory, publicUrl)),
    finding("acme-resolver", failed(resolver)),
    finding("acme-accounts", failed(accounts)),
    findingOf("acme-names", "warning", failures.map(({ name, challenge, why }) => `${name} by ${challenge}: ${why.replace(/\.$/, "")}`)),
  ];
}

function failed(what: string | undefined): Trouble | undefined {
  return what === undefined ? undefined : { status: "failed", what: what.replace(/\.$/, "") };
}

/** A client goes on from the URLs that it reads there. @source RFC 8555 section 7.1.1 */
function judgeDirectory(text: string | undefined, publicUrl: string): Trouble | undefined {
  if (text === undefined) return { status: "failed", what: "there is no answer at /acme/directory" };
  const { newOrder } = JSON.parse(text) as { readonly newOrder?: unknown };
  if (typeof newOrder === "string" && URL.canParse(newOrder) && new URL(newOrder).origin === new URL(publicUrl).origin) return undefined;
  return { status: "failed", what: `what answers at /acme/directory leads to ${typeof newOrder === "string" ? newOrder : "nowhere"}` };
}
