import { paths, type AuthorityList } from "../contract.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { readArguments, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { table } from "./table.ts";

/** `countersign authority list`. */
export async function authority(args: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals: [action] } = readArguments(args, apiOptions);
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  if (action !== "list") throw new UsageError(`there is no "authority ${action}"; there is list.`);
  const { authorities } = await api(values, io).call<AuthorityList>("GET", paths.authorities);
  io.stdout(values.output === "json" ? `${JSON.stringify(authorities, null, 2)}\n` : table(
    ["TYPE", "STATE", "UNTIL", "SHA-256", "SUBJECT"],
    authorities.map((row) => [row.type, row.state, `${row.notAfter.slice(0, 16).replace("T", " ")}Z`, row.fingerprint.slice(0, 16), row.subject]),
  ));
  return 0;
}

const usage = `countersign authority: the roots and issuers of the CA

  countersign authority list
${apiHelp}`;
