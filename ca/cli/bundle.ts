import { mediaType } from "../contract/headers.ts";
import { paths } from "../contract/paths.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { chooseAction, noMore, readArguments, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { inertJson } from "../settings/inert.ts";

/** `countersign bundle show`. */
export async function bundle(args: readonly string[], io: CliIo): Promise<number> {
  const {
    values,
    positionals: [action, ...rest],
  } = readArguments(args, apiOptions);
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  chooseAction("bundle", action, ["show"]);
  noMore(rest);
  if (values.output !== undefined && values.output !== "json" && values.output !== "pem") {
    throw new UsageError(`-o is json or pem, not ${values.output}.`);
  }
  const text = await api(values, io).fetchPublic(
    paths.bundle,
    values.output === "pem" ? mediaType.pem : mediaType.json,
  );
  io.stdout(values.output === "pem" ? text : `${inertJson(JSON.parse(text), 2)}\n`);
  return 0;
}

const usage = `countersign bundle: what others need to verify our certificates

  countersign bundle show            a SPIFFE bundle (JWK Set)
  countersign bundle show -o pem     the trust anchors for curl and openssl

For example: countersign bundle show -o pem > roots.pem
             openssl verify -CAfile roots.pem -untrusted chain.pem chain.pem
${apiHelp}`;
