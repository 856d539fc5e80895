import { paths } from "../contract.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { readArguments, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";

/** `countersign bundle show`. */
export async function bundle(args: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals: [action] } = readArguments(args, apiOptions);
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  if (action !== "show") throw new UsageError(`there is no "bundle ${action}"; there is show.`);
  io.stdout(`${JSON.stringify(await api(values, io).call("GET", paths.bundle), null, 2)}\n`);
  return 0;
}

const usage = `countersign bundle: what others need to verify our certificates (a SPIFFE bundle)

  countersign bundle show
${apiHelp}`;
