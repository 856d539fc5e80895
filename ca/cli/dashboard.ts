import { paths } from "../contract/paths.ts";
import type { SignInLink } from "../contract/sign-ins.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { noMore, readArguments } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { minute } from "./table.ts";

/** `countersign dashboard`: a link that signs a browser in. */
export async function dashboard(args: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = readArguments(args, apiOptions);
  if (values.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(positionals);
  const { print, explain } = output(values.output, io);
  const ca = api(values, io);
  const { path, expiresAt } = await ca.call<SignInLink>("POST", paths.signIns);
  const url = `${ca.url}${path}`;
  print({ url, expiresAt }, `${url}\n`);
  explain(
    `Open it until ${minute(expiresAt)}: whoever does first is you.\n` +
      "The browser has to trust the CA's root (root.pem in its data folder, or:\ncountersign bundle show -o pem), or asks you to accept it.\n",
  );
  return 0;
}

const usage = `countersign dashboard: look at the CA in a browser

  countersign dashboard
      prints a link that signs a browser in as the caller, once, within two
      minutes: with the API token, or with an SVID that has a role
${apiHelp}`;
