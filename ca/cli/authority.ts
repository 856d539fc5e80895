import { paths, type AuthorityList } from "../contract.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { chooseAction, noMore, readArguments } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { minute, table } from "./table.ts";

/** `countersign authority list`. */
export async function authority(args: readonly string[], io: CliIo): Promise<number> {
  const {
    values,
    positionals: [action, ...rest],
  } = readArguments(args, apiOptions);
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  chooseAction("authority", action, ["list"]);
  noMore(rest);
  const { print } = output(values.output, io);
  const { authorities } = await api(values, io).call<AuthorityList>("GET", paths.authorities);
  const rows = authorities.map((row) => [
    row.type,
    row.state,
    row.keyAlgorithm,
    minute(row.notAfter),
    row.fingerprint.slice(0, 24),
  ]);
  print(authorities, table(["TYPE", "STATE", "KEY", "UNTIL", "SHA-256"], rows));
  return 0;
}

const usage = `countersign authority: the roots and issuers of the CA

  countersign authority list
      -o json has certificates and fingerprints in full
${apiHelp}`;
