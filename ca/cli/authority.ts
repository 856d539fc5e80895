import type { AuthorityAnswer, AuthorityHolder, AuthorityList, AuthoritySummary } from "../contract/authorities.ts";
import { paths } from "../contract/paths.ts";
import { api, apiHelp, apiOptions, type Api } from "./api.ts";
import { chooseAction, noMore, readArguments, required, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { minute, pathOf, table } from "./table.ts";

/** `countersign authority list|prepare|rotate|activate|taint|revoke|retire`. */
export async function authority(args: readonly string[], io: CliIo): Promise<number> {
  const {
    values,
    positionals: [action, ...rest],
  } = readArguments(args, { ...apiOptions, force: { type: "boolean" }, type: { type: "string" } });
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  const chosen = chooseAction("authority", action, ["list", "prepare", "rotate", ...steps]);
  const { print, explain } = output(values.output, io);
  const ca = api(values, io);
  if (values.force === true && !steps.some((step) => step === chosen)) throw new UsageError(`--force is for ${steps.join(", ")}.`);
  if (values.type !== undefined && chosen !== "rotate") throw new UsageError("--type is for rotate.");

  if (chosen === "list") {
    noMore(rest);
    const { authorities } = await ca.call<AuthorityList>("GET", paths.authorities);
    print(authorities, tableOf(authorities));
    for (const { id, type, waitsFor } of authorities) {
      if (waitsFor !== undefined && waitsFor.count > 0) explain(`The ${nameOf[type]} ${id.slice(0, idChars)} waits for ${waitsFor.count} holders that do not trust it yet:\n${holderLines(waitsFor.holders, waitsFor.count)}`);
    }
    return 0;
  }
  const answer = await takeStep(chosen, rest, values, ca);
  print(answer, tableOf(answer.authorities));
  if (answer.holdersAffected > 0) explain(`Forced: ${answer.holdersAffected} holders are cut off until they have renewed:\n${holderLines(answer.holders, answer.holdersAffected)}`);
  explain(hints[chosen]);
  return 0;
}

const steps = ["activate", "taint", "revoke", "retire"] as const;
type Step = (typeof steps)[number];

async function takeStep(
  action: "prepare" | "rotate" | Step, rest: readonly string[], { force, type = "issuer" }: { readonly force?: boolean | undefined; readonly type?: string | undefined }, ca: Api,
): Promise<AuthorityAnswer> {
  if (action === "prepare") {
    noMore(rest);
    return ca.call("POST", paths.authorities, { type: "root" });
  }
  if (action === "rotate") {
    noMore(rest);
    if (type !== "root" && type !== "issuer" && type !== "jwt") throw new UsageError(`--type is root, issuer or jwt, not ${type}.`);
    return ca.call("POST", `${paths.authorities}/rotate`, { type });
  }
  const [given, ...more] = rest;
  noMore(more);
  const id = await findId(required(given, "the authority's ID", "8bc2d1d09855; countersign authority list has them"), ca);
  return ca.call("POST", `${paths.authorities}/${id}/${action}`, force === true ? { force } : {});
}

/** The list shows the beginning of each ID: as much of it as names one authority is enough. */
async function findId(given: string, ca: Api): Promise<string> {
  const { authorities } = await ca.call<AuthorityList>("GET", paths.authorities);
  const found = authorities.filter(({ id }) => id.startsWith(given.toLowerCase()));
  const [one] = found;
  if (one === undefined) throw new UsageError(`there is no authority ${given}; "countersign authority list" has them all.`);
  if (found.length > 1) throw new UsageError(`${given} is the beginning of ${found.length} authorities' IDs; give more of it.`);
  return one.id;
}

function tableOf(authorities: readonly AuthoritySummary[]): string {
  const rows = authorities.map((row) => [
    row.id.slice(0, idChars), row.type, row.state, row.keyAlgorithm, row.key, minute(row.notAfter), row.fingerprint.slice(0, 16),
  ]);
  return table(["ID", "TYPE", "STATE", "ALGORITHM", "KEY", "UNTIL", "SHA-256"], rows);
}

function holderLines(holders: readonly AuthorityHolder[], count: number): string {
  const lines = holders.map(({ spiffeId, serialNumber, notAfter }) => `  ${pathOf(spiffeId)}  ${serialNumber}  until ${minute(notAfter)}\n`);
  return lines.join("") + (count > holders.length ? `  and ${count - holders.length} more\n` : "");
}

const nameOf: Readonly<Record<AuthoritySummary["type"], string>> = { root: "root", intermediate: "intermediate", issuer: "issuer", jwt: "JWT key" };
/** Two authorities in a billion begin alike. */
const idChars = 12;
const hints: Readonly<Record<"prepare" | "rotate" | Step, string>> = {
  prepare: 'It is in the bundle now. "countersign authority list" tells who does not have it yet; it takes over when the settings say, or by activate.\n',
  rotate: 'An issuer is replaced at once; a root or JWT key takes over as soon as every holder has it ("countersign authority list" tells who does not).\n',
  activate: "It signs from now on; the one it replaced stays in the bundle while anything depends on it.\n",
  taint: "Whoever has a certificate from it is told to renew. Revoke it when they have: \"countersign authority revoke\" names who has not.\n",
  revoke: "What it signed is refused from now on.\n",
  retire: "It has left the bundle.\n",
};

const usage = `countersign authority: the roots, intermediates, issuers and JWT keys of the CA

  countersign authority list
      -o json has certificates and fingerprints in full
  countersign authority rotate [--type issuer|root|jwt]
      an issuer is replaced at once; a root or JWT key is made and published,
      and takes over as soon as every holder of a live certificate trusts it
  countersign authority prepare
      makes and publishes a root, which takes over when the settings say
  countersign authority activate ID
      a prepared root, intermediate or JWT key takes over
  countersign authority retire ID     a replaced root leaves the bundle
  countersign authority taint ID
      its key may be known to others: another one signs, and whoever has a
      certificate from it renews within renewWindow; a JWT key leaves the
      bundle at once
  countersign authority revoke ID     what it signed is refused from now on

  Steps that would cut off holders are refused, with their names; --force
  takes them all the same, and the audit log says so.
${apiHelp}`;
