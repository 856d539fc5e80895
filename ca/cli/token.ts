import { paths } from "../contract/paths.ts";
import { roles, type Role } from "../contract/roles.ts";
import type { CreatedToken, CreateTokenRequest, TokenPage, TokenSummary } from "../contract/tokens.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { chooseAction, noMore, readArguments, required, seconds, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { minute, pathOf, table } from "./table.ts";

/** `countersign token create|list|delete`. */
export async function token(args: readonly string[], io: CliIo): Promise<number> {
  const {
    values,
    positionals: [action, ...rest],
  } = readArguments(args, { ...apiOptions, ...tokenOptions });
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  const { json, print, explain } = output(values.output, io);
  switch (chooseAction("token", action, ["create", "list", "delete"])) {
    case "create": {
      noMore(rest);
      const request = creation(values);
      const created = await api(values, io).call<CreatedToken>("POST", paths.tokens, request);
      print(created, `${created.bootstrap ?? created.token}\n`);
      explain(created.type === "join" ? joinHint(created) : apiHint(created));
      return 0;
    }
    case "list": {
      noMore(rest);
      const { tokens, nextCursor } = await api(values, io).call<TokenPage>("GET", `${paths.tokens}?limit=1000`);
      const rows = tokens.map((row) => [
        row.id,
        row.type,
        minute(row.expiresAt),
        stateOf(row, Date.now()),
        row.spiffeId ? pathOf(row.spiffeId) : `${row.name} (${row.role})`,
      ]);
      print(tokens, table(["ID", "TYPE", "EXPIRES", "STATE", "FOR"], rows));
      if (nextCursor !== undefined) io.stderr("There are more; these are the newest 1000.\n");
      return 0;
    }
    case "delete": {
      const [id, ...more] = rest;
      noMore(more);
      const named = required(id, "the token's ID", 'as "countersign token list" shows it');
      await api(values, io).call("DELETE", `${paths.tokens}/${encodeURIComponent(named)}`);
      if (!json) io.stderr(`Token ${id} is deleted: nothing can be had with it any more.\n`);
      return 0;
    }
  }
}

const tokenOptions = {
  type: { type: "string", default: "join" },
  id: { type: "string" },
  dns: { type: "string", multiple: true },
  ttl: { type: "string" },
  name: { type: "string" },
  role: { type: "string" },
  scope: { type: "string", multiple: true },
} as const;

interface CreateFlags {
  readonly type: string;
  readonly id?: string | undefined;
  readonly dns?: readonly string[] | undefined;
  readonly ttl?: string | undefined;
  readonly name?: string | undefined;
  readonly role?: string | undefined;
  readonly scope?: readonly string[] | undefined;
}

function creation({ type, id, dns, ttl, name, role, scope }: CreateFlags): CreateTokenRequest {
  const expiry = ttl === undefined ? {} : { expiresInSeconds: seconds(ttl, "--ttl") };
  if (type === "join") {
    if (name ?? role ?? scope) throw new UsageError("--name, --role and --scope are for API tokens: add --type api.");
    return {
      type,
      spiffeId: required(id, "--id", "spiffe://TD/ns/shop/sa/cart"),
      ...(dns && { dnsNames: dns }),
      ...expiry,
    };
  }
  if (type !== "api") throw new UsageError(`--type is join or api, not ${type}.`);
  if (id ?? dns)
    throw new UsageError("--id and --dns are for join tokens; what an API token may issue is its --scope.");
  const chosen = roles.find((one) => one === required(role, "--role", "operator"));
  if (chosen === undefined) throw new UsageError(`--role is ${roles.join(", ")}, not ${role}.`);
  return {
    type,
    name: required(name, "--name", "ci"),
    role: chosen satisfies Role,
    ...(scope && { scope }),
    ...expiry,
  };
}

function stateOf({ type, expiresAt, redeemedAt, lastUsedAt }: TokenSummary, nowMs: number): string {
  if (redeemedAt !== undefined) return "redeemed";
  if (expiresAt !== undefined && Date.parse(expiresAt) <= nowMs) return "expired";
  if (type === "join") return "waiting";
  return lastUsedAt === undefined ? "never used" : `used ${lastUsedAt.slice(0, 10)}`;
}

function joinHint({ id, spiffeId, expiresAt }: CreatedToken): string {
  return `Join token ${id} for
${spiffeId}, good once, until ${minute(expiresAt)}.
Give the string to the proxy as COUNTERSIGN_BOOTSTRAP, or in a file (0600) with
--bootstrap-file; never on a command line.
`;
}

function apiHint({ id, role, scope = [], expiresAt }: CreatedToken): string {
  const until = expiresAt === undefined ? "until it is deleted" : `until ${minute(expiresAt)}`;
  const may = role === "operator" && scope.length === 0 ? "It has no --scope, so it can issue nothing.\n" : "";
  return `API token ${id} (${role}), valid ${until}.\nIt is shown this once and kept only as a hash.\n${may}`;
}

const usage = `countersign token: what workloads join with, and what people and scripts call
the API with

  countersign token create --id spiffe://TD/ns/shop/sa/cart [--dns NAME]...
      [--ttl 1h]
      prints one string, all that countersign-proxy needs; good once
  countersign token create --type api --name ci --role operator \\
      --scope 'spiffe://TD/ns/shop/*' [--scope 'dns:*.shop.svc'] [--ttl 90d]
      roles: admin (all), operator (all within its scope), auditor (read)
      an operator gives only DNS names that its scope has
  countersign token list
  countersign token delete ID
${apiHelp}`;
