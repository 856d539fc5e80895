import { paths } from "../contract/paths.ts";
import type { ApplyRequest, ApplyResult, PolicyList } from "../contract/policies.ts";
import type { PolicyTest, PolicyTestResult } from "../contract/policy-decisions.ts";
import type { ServiceList } from "../contract/services.ts";
import { api, apiHelp, apiOptions, ApiError, type Api } from "./api.ts";
import { chooseAction, noMore, readArguments, required, UsageError } from "./arguments.ts";
import { readDocumentFile } from "./document-file.ts";
import { inertJson } from "../settings/inert.ts";
import type { CliIo } from "./io.ts";
import { output, type Output } from "./output.ts";
import { minute, table } from "./table.ts";
import { isObject } from "../pki/json.ts";

/** `countersign policy apply|list|show|remove|test`. */
export async function policy(args: readonly string[], io: CliIo): Promise<number> {
  const {
    values,
    positionals: [action, ...rest],
  } = readArguments(args, { ...apiOptions, ...policyOptions });
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  const out = output(values.output, io);
  const connect = (): Api => api(values, io);
  switch (chooseAction("policy", action, ["apply", "list", "show", "remove", "test"])) {
    case "apply":
      noMore(rest);
      await apply(required(values.file, "--file", "policies.yaml"), connect, out);
      return 0;
    case "list": {
      noMore(rest);
      const { policies } = await connect().call<PolicyList>("GET", paths.policies);
      const rows = policies.map(({ name, rules, changed, workloads }) => [name, String(rules.length), minute(changed.changedAt), workloads.join(" ")]);
      out.print(policies, table(["NAME", "RULES", "CHANGED", "WORKLOADS"], rows));
      return 0;
    }
    case "show": {
      const name = nameOf(rest);
      const { policies } = await connect().call<PolicyList>("GET", paths.policies);
      const found = policies.find((each) => each.name === name);
      if (found === undefined) throw new ApiError(`there is no policy ${name}; "countersign policy list" shows which there are`);
      const { changed, ...document } = found;
      out.print(found, `${inertJson(document, 2)}\n`);
      out.explain(`Changed ${minute(changed.changedAt)} by ${changed.changedBy}.\n`);
      return 0;
    }
    case "remove": {
      const name = nameOf(rest);
      await connect().call("DELETE", `${paths.policies}/${encodeURIComponent(name)}`);
      if (!out.json) io.stderr(`The policy ${name} is removed.\n`);
      return 0;
    }
    case "test": {
      noMore(rest);
      const question = testOf(values);
      const result = await connect().call<PolicyTestResult>("POST", paths.policyTest, question);
      out.print(result, explain(result));
      return result.action === "allow" ? 0 : 1;
    }
  }
}

/** `countersign service apply|list|remove`: who must answer to a name. */
export async function service(args: readonly string[], io: CliIo): Promise<number> {
  const {
    values,
    positionals: [action, ...rest],
  } = readArguments(args, { ...apiOptions, file: policyOptions.file });
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(serviceUsage);
    return values.help ? 0 : 2;
  }
  const out = output(values.output, io);
  const connect = (): Api => api(values, io);
  switch (chooseAction("service", action, ["apply", "list", "remove"])) {
    case "apply":
      noMore(rest);
      await apply(required(values.file, "--file", "services.yaml"), connect, out);
      return 0;
    case "list": {
      noMore(rest);
      const { services } = await connect().call<ServiceList>("GET", paths.services);
      const rows = services.map(({ name, port, addresses = [], spiffeId }) => [port === undefined ? name : `${name}:${port}`, addresses.length === 0 ? "by DNS" : String(addresses.length), spiffeId]);
      out.print(services, table(["NAME", "ADDRESSES", "WHO ANSWERS"], rows));
      return 0;
    }
    case "remove": {
      const name = nameOf(rest);
      await connect().call("DELETE", `${paths.services}/${encodeURIComponent(name)}`);
      if (!out.json) io.stderr(`The service ${name} is removed.\n`);
      return 0;
    }
  }
}

const policyOptions = {
  file: { type: "string", short: "f" },
  from: { type: "string" },
  to: { type: "string" },
  port: { type: "string" },
  method: { type: "string" },
  path: { type: "string" },
} as const;

async function apply(path: string, connect: () => Api, { print, explain: tell }: Output): Promise<void> {
  const result = await connect().call<ApplyResult>("POST", paths.policies, readDocuments(path));
  print(result, result.changed.map((each) => `${each}\n`).join(""));
  tell(result.changed.length === 0 ? "Nothing to change: all of it is so already.\n" : "Applied; proxies are told now.\n");
}

/** One policy or service, a list of them, or both lists by name; "-" is standard input. */
function readDocuments(path: string): ApplyRequest {
  const value = readDocumentFile(path);
  const documents = Array.isArray(value) ? value : isObject(value) && ("rules" in value || "spiffeId" in value) ? [value] : undefined;
  if (documents === undefined) {
    if (isObject(value) && Object.keys(value).every((key) => key === "policies" || key === "services")) return value as ApplyRequest;
    throw new ApiError(`${path} holds neither policies nor services; see "countersign policy --help"`);
  }
  // An empty file is no wish to change nothing: what was to fill it failed.
  if (documents.length === 0) throw new ApiError(`${path} is empty; it is to hold policies or services: see "countersign policy --help"`);
  const services = documents.filter((each) => isObject(each) && "spiffeId" in each);
  const policies = documents.filter((each) => !services.includes(each));
  return { ...(policies.length > 0 && { policies }), ...(services.length > 0 && { services }) };
}

function testOf({ from, to, port, method, path }: { readonly [Name in "from" | "to" | "port" | "method" | "path"]?: string | undefined }): PolicyTest {
  if (port !== undefined && !(/^[1-9][0-9]{0,4}$/.test(port) && Number(port) <= 65_535)) throw new UsageError(`--port is a number from 1 to 65535, not ${port}.`);
  return {
    from: required(from, "--from", "spiffe://TD/ns/shop/sa/web"), to: required(to, "--to", "spiffe://TD/ns/shop/sa/cart"),
    ...(port !== undefined && { port: Number(port) }), ...(method !== undefined && { method }), ...(path !== undefined && { path }),
  };
}

function explain({ action, rule, reason, audit, policies }: PolicyTestResult): string {
  const by = rule === undefined ? "" : ` by ${rule}`;
  const selecting = policies.length === 0 ? "No policy selects the server." : `Policies that select the server: ${policies.join(", ")}.`;
  return `${action}${by}\n${reasons[reason]}\n${selecting}\n${audit.length === 0 ? "" : `Logged because of ${audit.join(", ")}.\n`}`;
}

function nameOf([name, ...more]: readonly string[]): string {
  noMore(more);
  return required(name, "the name", "cart");
}

const reasons: Readonly<Record<PolicyTestResult["reason"], string>> = {
  rule_allowed: "This rule allows it, and none denies it.",
  rule_denied: "A rule that denies goes before all that allow.",
  path_ambiguous: "The rule is about paths, and servers read this path differently.",
  not_http: "The rule is about HTTP, and a connection that is not cannot be looked into.",
  no_rule_allows: "A policy selects the server, and no rule allows this.",
  mesh_default: "Nothing selects the server: its own trust domain may call it.",
  foreign: "Nothing selects the server, and the client is of another trust domain.",
  unauthenticated: "The client has proved no identity.",
};

const usage = `countersign policy: who may call whom

  countersign policy apply -f policies.yaml
      one policy or service, a list of them, or {"policies":[],"services":[]},
      in YAML or JSON
  countersign policy list
  countersign policy show NAME
  countersign policy remove NAME
  countersign policy test --from spiffe://TD/ns/shop/sa/web \\
      --to spiffe://TD/ns/shop/sa/cart [--port 8080] [--method GET] [--path /]
      what a proxy decides, and by which rule; exit code 1 when denied

A policy:
  {"name": "cart", "workloads": ["spiffe://TD/ns/shop/sa/cart"],
   "rules": [{"action": "allow", "from": ["spiffe://TD/ns/*/sa/web"],
              "methods": ["GET"], "paths": ["/items/*"]}]}
  action: allow, deny (goes first) or audit; also "ports", and "grpc":
  ["shop.Cart/Add"]. A star is one whole segment, at the end one or more.
  What selects a workload denies it all that no rule allows.
${apiHelp}`;

const serviceUsage = `countersign service: which identity must answer to a name

  countersign service apply -f services.yaml
  countersign service list
  countersign service remove NAME

A service:
  {"name": "cart.shop", "spiffeId": "spiffe://TD/ns/shop/sa/cart",
   "addresses": [{"host": "10.0.0.7", "port": 4143, "weight": 1}]}
  without addresses DNS says where it is; with "port" it is for that port only
${apiHelp}`;
