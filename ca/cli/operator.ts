import type { OperatorList, OperatorSummary } from "../contract/operators.ts";
import { paths } from "../contract/paths.ts";
import { roles } from "../contract/roles.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { chooseAction, noMore, readArguments, required, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { table } from "./table.ts";

/** `countersign operator add|list|remove`. */
export async function operator(args: readonly string[], io: CliIo): Promise<number> {
  const {
    values,
    positionals: [action, ...rest],
  } = readArguments(args, { ...apiOptions, role: { type: "string" }, scope: { type: "string", multiple: true } });
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  const { json, print, explain } = output(values.output, io);
  switch (chooseAction("operator", action, ["add", "list", "remove"])) {
    case "add": {
      const spiffeId = readId(rest);
      const role = roles.find((one) => one === required(values.role, "--role", "operator"));
      if (role === undefined) throw new UsageError(`--role is ${roles.join(", ")}, not ${values.role}.`);
      const added = await api(values, io).call<OperatorSummary>("POST", paths.operators, { spiffeId, role, ...(values.scope && { scope: values.scope }) });
      print(added, `${added.spiffeId}\n`);
      explain(
        `Whoever has a certificate for it, or a join token, is now ${role === "admin" ? "an" : "an API caller with the role"} ${role}.\n` +
          (role === "operator" && !added.scope ? "It has no --scope, so it can do nothing.\n" : ""),
      );
      return 0;
    }
    case "list": {
      noMore(rest);
      const { operators } = await api(values, io).call<OperatorList>("GET", paths.operators);
      const rows = operators.flatMap(({ spiffeId, role, scope = [], lastUsedAt }) => [[role, lastUsedAt?.slice(0, 10) ?? "never", spiffeId], ...scope.map((pattern) => ["", "", `  for ${pattern}`])]);
      print(operators, table(["ROLE", "LAST USED", "WHO"], rows));
      return 0;
    }
    case "remove": {
      const spiffeId = readId(rest);
      await api(values, io).call("DELETE", `${paths.operators}?${new URLSearchParams({ spiffeId })}`);
      if (!json) io.stderr(`${spiffeId} has no role any more; its certificates stay valid.\n`);
      return 0;
    }
  }
}

function readId([id, ...more]: readonly string[]): string {
  noMore(more);
  return required(id, "the SPIFFE ID", "spiffe://TD/ops/alice");
}

const usage = `countersign operator: who calls the API with its SVID instead of a token

  countersign operator add spiffe://TD/ops/alice --role admin
  countersign operator add 'spiffe://TD/ns/ci/*' --role operator \\
      --scope 'spiffe://TD/ns/shop/*' [--scope 'dns:*.shop.svc']
      roles and scopes as with "countersign token create --type api";
      only an admin gives certificates and join tokens for such an ID
  countersign operator list
  countersign operator remove spiffe://TD/ops/alice

Then, on any command: --svid-cert chain.pem --svid-key key.pem
${apiHelp}`;
