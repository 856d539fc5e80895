import type { IssuedJwtSvid, IssueJwtSvidRequest } from "../contract/jwt-svids.ts";
import { paths } from "../contract/paths.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { chooseAction, noMore, readArguments, seconds, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { minute } from "./table.ts";

/** `countersign jwt issue`. */
export async function jwt(args: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals: [action, ...rest] } = readArguments(args, {
    ...apiOptions, audience: { type: "string", multiple: true }, id: { type: "string" }, ttl: { type: "string" },
  });
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  chooseAction("jwt", action, ["issue"]);
  noMore(rest);
  const { audience, id, ttl } = values;
  if (audience === undefined) throw new UsageError("--audience is missing: say who is to believe the token, e.g. --audience spiffe://TD/ns/shop/sa/stock.");
  const request: IssueJwtSvidRequest = { audience, ...(id !== undefined && { spiffeId: id }), ...(ttl !== undefined && { lifetimeSeconds: seconds(ttl, "--ttl") }) };
  const { print, explain } = output(values.output, io);
  const issued = await api(values, io).call<IssuedJwtSvid>("POST", paths.jwtSvids, request);
  print(issued, `${issued.token}\n`);
  explain(`JWT-SVID of ${issued.spiffeId} for ${issued.audience.join(", ")}, until ${minute(issued.expiresAt)}.\nWhoever reads it can use it there: keep it off command lines and out of logs.\n`);
  return 0;
}

const usage = `countersign jwt: tokens for what cannot do mutual TLS

  countersign jwt issue --audience NAME [--audience NAME]...
      [--id spiffe://TD/ns/shop/sa/cart] [--ttl 5m]
      prints a JWT-SVID; with --svid-cert and --svid-key one of the caller's
      own ID, else one of --id, for which its role must be enough

For example, for a service that verifies it by GET /v1/bundle:
  curl -H "authorization: Bearer $(countersign jwt issue --audience shop \\
      --id spiffe://TD/ns/shop/sa/cron)" https://shop.example/
${apiHelp}`;
