import { paths, type CreatedToken, type CreateTokenRequest, type Role, type TokenPage } from "../contract.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { readArguments, required, seconds, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { table } from "./table.ts";

/** `countersign token create|list|delete`. */
export async function token(args: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals: [action, id] } = readArguments(args, {
    ...apiOptions,
    type: { type: "string", default: "join" }, id: { type: "string" }, dns: { type: "string", multiple: true }, ttl: { type: "string" },
    name: { type: "string" }, role: { type: "string" }, scope: { type: "string", multiple: true },
  });
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  const json = values.output === "json";
  switch (action) {
    case "create": {
      const created = await api(values, io).call<CreatedToken>("POST", paths.tokens, creation(values));
      if (json) io.stdout(`${JSON.stringify(created, null, 2)}\n`);
      else io.stdout(`${created.bootstrap ?? created.token}\n`);
      if (!json) io.stderr(created.type === "join" ? joinHint(created) : `API token ${created.id} (${created.role}): shown this once, kept only as a hash.\n`);
      return 0;
    }
    case "list": {
      const { tokens, nextCursor } = await api(values, io).call<TokenPage>("GET", `${paths.tokens}?limit=1000`);
      if (json) io.stdout(`${JSON.stringify(tokens, null, 2)}\n`);
      else {
        io.stdout(table(["ID", "TYPE", "FOR", "EXPIRES", "REDEEMED"], tokens.map((row) => [
          row.id, row.type, row.spiffeId ?? `${row.name} (${row.role})`, short(row.expiresAt), row.type === "join" ? short(row.redeemedAt) : "",
        ])));
      }
      if (nextCursor !== undefined) io.stderr("There are more; these are the newest 1000.\n");
      return 0;
    }
    case "delete": {
      await api(values, io).call("DELETE", `${paths.tokens}/${encodeURIComponent(required(id, "the token's ID", "as \"countersign token list\" shows it"))}`);
      io.stderr(`Token ${id} is deleted: nothing can be had with it any more.\n`);
      return 0;
    }
    default:
      throw new UsageError(`there is no "token ${action}"; there are create, list and delete.`);
  }
}

function creation({ type, id, dns, ttl, name, role, scope }: {
  type?: string | undefined; id?: string | undefined; dns?: string[] | undefined; ttl?: string | undefined;
  name?: string | undefined; role?: string | undefined; scope?: string[] | undefined;
}): CreateTokenRequest {
  const expiry = ttl === undefined ? {} : { expiresInSeconds: seconds(ttl, "--ttl") };
  if (type === "join") {
    return { type, spiffeId: required(id, "--id", "spiffe://countersign.local/ns/shop/sa/cart"), ...(dns && { dnsNames: dns }), ...expiry };
  }
  if (type !== "api") throw new UsageError(`--type is join or api, not ${type}.`);
  return { type, name: required(name, "--name", "ci"), role: required(role, "--role", "operator") as Role, ...(scope && { scope }), ...expiry };
}

function joinHint({ id, spiffeId, expiresAt }: CreatedToken): string {
  return `Join token ${id} for ${spiffeId}, good once, until ${short(expiresAt)}.
Give the string to the proxy as COUNTERSIGN_BOOTSTRAP, or in a file (0600) with
--bootstrap-file; never on a command line.
`;
}

function short(time: string | undefined): string {
  return time === undefined ? "-" : `${time.slice(0, 16).replace("T", " ")}Z`;
}

const usage = `countersign token: what workloads join with, and what people and scripts call the API with

  countersign token create --id spiffe://TD/ns/shop/sa/cart [--dns NAME]... [--ttl 1h]
      prints one string, all that countersign-proxy needs; good once
  countersign token create --type api --name ci --role operator \\
      --scope 'spiffe://TD/ns/shop/*' [--ttl 90d]
      roles: admin (all), operator (issue in its scope, revoke), auditor (read)
  countersign token list
  countersign token delete ID
${apiHelp}`;
