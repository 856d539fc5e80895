import { policyActions, type Policy, type PolicyRule } from "../contract/policies.ts";
import type { Service, ServiceAddress } from "../contract/services.ts";
import { isObject, type JsonObject } from "../pki/json.ts";
import { parseSpiffeId } from "../pki/spiffe-id.ts";
import { parsePathPattern } from "./http-path.ts";
import { parseIdPattern } from "./id-pattern.ts";

/** A policy or service that is refused as a whole; the message says which part and why. */
export class PolicyError extends Error {
  override readonly name = "PolicyError";
  readonly code = "policy_malformed";
}

/**
 * Reads a policy strictly: a member that is not known is a condition that would not be kept. The CA and the proxies read it here.
 * @throws {PolicyError}
 */
export function parsePolicy(value: unknown): Policy {
  const policy = object(value, "a policy", ["name", "description", "workloads", "rules"]);
  const name = text(policy["name"], "a policy's name", documentName, "1 to 63 of a-z, 0-9, dot and dash, and begins with a letter or digit");
  const where = `the policy ${name}`;
  if (policy["description"] !== undefined) text(policy["description"], `the description of ${where}`, description, "at most 256 printable characters");
  list(policy["workloads"], `workloads of ${where}`, policyLimits.patterns).forEach((each) => idPattern(each, `workloads of ${where}`));
  const rules = list(policy["rules"], `rules of ${where}`, policyLimits.rules).map((rule, index) => parseRule(rule, `rule ${index + 1} of ${where}`));
  const names = rules.flatMap((rule) => rule.name ?? []);
  if (new Set(names).size !== names.length) throw new PolicyError(`two rules of ${where} have the same name`);
  return policy as unknown as Policy;
}

/** @throws {PolicyError} */
export function parseService(value: unknown): Service {
  const service = object(value, "a service", ["name", "port", "spiffeId", "addresses"]);
  const name = text(service["name"], "a service's name", hostName, "a host name in lower case");
  const where = `the service ${name}`;
  if (service["port"] !== undefined) port(service["port"], where);
  try {
    if (parseSpiffeId(String(service["spiffeId"])).path === "") throw new PolicyError("no workload");
  } catch (cause) {
    throw new PolicyError(`spiffeId of ${where} is not the SPIFFE ID of a workload`, { cause });
  }
  if (service["addresses"] !== undefined) list(service["addresses"], `addresses of ${where}`, policyLimits.addresses).forEach((each) => parseAddress(each, where));
  return service as unknown as Service;
}

function parseAddress(value: unknown, where: string): ServiceAddress {
  const address = object(value, `an address of ${where}`, ["host", "port", "weight"]);
  text(address["host"], `host of an address of ${where}`, host, "an IP address or a host name in lower case");
  port(address["port"], `an address of ${where}`);
  const { weight = 1 } = address;
  if (!Number.isSafeInteger(weight) || (weight as number) < 1 || (weight as number) > 1000) throw new PolicyError(`weight of an address of ${where} is not 1 to 1000`);
  return address as unknown as ServiceAddress;
}

function parseRule(value: unknown, where: string): PolicyRule {
  const rule = object(value, where, ["name", "action", "from", "ports", "methods", "paths", "grpc"]);
  if (rule["name"] !== undefined) text(rule["name"], `name of ${where}`, documentName, "1 to 63 of a-z, 0-9, dot and dash, and begins with a letter or digit");
  const { action } = rule;
  if (!policyActions.some((one) => one === action)) throw new PolicyError(`action of ${where} is not ${policyActions.join(", ")}`);
  for (const each of list(rule["from"], `from of ${where}`, policyLimits.patterns)) {
    if (each !== "*") idPattern(each, `from of ${where}`);
    else if (action === "allow") throw new PolicyError(`from of ${where} allows "*", strangers of every trust domain; name the trust domain: spiffe://TD/*`);
  }
  optionalList(rule["ports"], `ports of ${where}`).forEach((each) => port(each, where));
  optionalList(rule["methods"], `methods of ${where}`).forEach((each) => text(each, `a method of ${where}`, method, "an HTTP method in upper case"));
  for (const each of optionalList(rule["paths"], `paths of ${where}`)) {
    if (typeof each === "string" && parsePathPattern(each) !== undefined) continue;
    throw new PolicyError(
      `paths of ${where}: a path begins with "/", is decoded and without query, "." or "..", and ends without "/"; a star stands for a whole segment, as the last ` +
        "one for all below",
    );
  }
  optionalList(rule["grpc"], `grpc of ${where}`).forEach((each) => text(each, `grpc of ${where}`, grpcMethod, "package.Service/Method or package.Service/*"));
  if (rule["grpc"] !== undefined && (rule["methods"] ?? rule["paths"]) !== undefined) throw new PolicyError(`${where} has grpc together with methods or paths; make two rules of it`);
  return rule as unknown as PolicyRule;
}

function object(value: unknown, what: string, members: readonly string[]): JsonObject {
  if (!isObject(value)) throw new PolicyError(`${what} is not an object`);
  const unknown = Object.keys(value).find((key) => !members.includes(key));
  if (unknown !== undefined) throw new PolicyError(`${what} has a member that is not known; there is ${members.join(", ")}`);
  return value;
}

/** Never empty: "nobody" and "everybody" are both what somebody would take it for. */
function list(value: unknown, what: string, limit: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > limit) throw new PolicyError(`${what} is not a list of 1 to ${limit}`);
  return value;
}

function optionalList(value: unknown, what: string): readonly unknown[] {
  return value === undefined ? [] : list(value, what, policyLimits.patterns);
}

function text(value: unknown, what: string, form: RegExp, described: string): string {
  if (typeof value !== "string" || !form.test(value)) throw new PolicyError(`${what} is not ${described}`);
  return value;
}

function port(value: unknown, where: string): void {
  if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > 65_535) throw new PolicyError(`a port of ${where} is not 1 to 65535`);
}

function idPattern(value: unknown, what: string): void {
  if (typeof value === "string" && parseIdPattern(value) !== undefined) return;
  throw new PolicyError(`${what}: a pattern is a SPIFFE ID in which a star stands for one whole segment of the path, as the last one for one or more`);
}

/** What one policy may hold. All policies and services together are bounded where they are kept (`policies.ts`). */
const policyLimits = { rules: 64, patterns: 64, addresses: 64 } as const;
const documentName = /^[a-z0-9][a-z0-9.-]{0,62}$/;
const description = /^[^\p{Cc}\p{Cs}\u2028\u2029]{0,256}$/u;
const hostName = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/;
const host = /^(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*|[0-9a-f:.]{2,45})$/;
/** RFC 9110 5.6.2, less lower case: every registered method is upper case, and servers differ about the others. */
const method = /^[A-Z][A-Z0-9!#$%&'*+.^_`|~-]{0,31}$/;
const grpcMethod = /^[A-Za-z_][A-Za-z0-9_.]{0,254}\/([A-Za-z_][A-Za-z0-9_]{0,127}|\*)$/;
