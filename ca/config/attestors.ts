import { parseDnsTemplate, parseIdTemplate, TemplateError, type NameTemplate } from "../attestation/name-template.ts";
import { parseNamed } from "./values.ts";
import { isObject } from "../pki/json.ts";
import { nearestName } from "../settings/spelling.ts";

/** Who else may vouch for workloads, as the operator wrote it, checked. */
export type AttestorConfig = KubernetesAttestor | OidcAttestor | X509Attestor | AwsIamAttestor;

export const attestorTypes = ["kubernetes", "oidc", "x509", "aws-iam"] as const;
export type AttestorType = (typeof attestorTypes)[number];

interface AttestorCommon {
  readonly name: string;
  /** The first that fits names the workload. */
  readonly rules: readonly AttestationRule[];
  /** `svid`: a certificate renews itself, as any does. `attest`: each certificate needs evidence anew. */
  readonly renew: "svid" | "attest";
}

export interface AttestationRule {
  /** All have to hold. */
  readonly when: readonly Condition[];
  readonly spiffeId: NameTemplate;
  readonly dnsNames: readonly NameTemplate[];
}

/** Holds when one of the fact's values is one of these, or begins with one that ends in a star. */
export interface Condition {
  readonly fact: string;
  readonly values: readonly string[];
}

/** Projected service-account tokens of one cluster. */
export interface KubernetesAttestor extends AttestorCommon {
  readonly type: "kubernetes";
  readonly audience: string;
  /** `api`: the cluster's TokenReview is asked, of tokens that are by its keys (default: those that its API has) and, where one is named, its issuer. Otherwise tokens are verified here, by its keys. */
  readonly verify: ({ readonly kind: "api"; readonly url: string; readonly tokenFile: string } & Trust & Partial<Pick<TokenIssuer, "issuer" | "keys">>) | ({ readonly kind: "keys" } & TokenIssuer);
  /** Only tokens that end with their pod. */
  readonly podBound: boolean;
}

/** ID tokens of one issuer. */
export interface OidcAttestor extends AttestorCommon, TokenIssuer {
  readonly type: "oidc";
  readonly audience: string;
  /** Whether a token is good for one certificate only. */
  readonly once: boolean;
}

/** Certificates of another PKI. */
export interface X509Attestor extends AttestorCommon {
  readonly type: "x509";
  /** PEM: what it trusts. */
  readonly anchorsFile: string;
}

/** Signed `sts:GetCallerIdentity` requests. */
export interface AwsIamAttestor extends AttestorCommon, Trust {
  readonly type: "aws-iam";
  readonly regions: readonly string[];
  /** Instead of the region's own. */
  readonly endpoint: string | undefined;
}

export interface TokenIssuer extends Trust {
  readonly issuer: string;
  /** Where its keys are; undefined: its discovery document says. */
  readonly keys: { readonly kind: "url"; readonly url: string } | { readonly kind: "file"; readonly path: string } | undefined;
}

interface Trust {
  /** PEM; undefined: the roots that Node comes with. */
  readonly caFile: string | undefined;
}

/**
 * Reads the attestors: a JSON object, by name.
 * @param faults  gets a sentence for each thing that is wrong, so that all of them are told at once
 */
export function parseAttestors(json: string, trustDomain: string, faults: string[]): readonly AttestorConfig[] {
  const named = parseNamed(json, 'it is no object of attestors by name, e.g. {"east-cluster": {"type": "kubernetes", "api": "https://10.0.0.1:6443", "caFile": "...", "tokenFile": "..."}}', faults);
  if (named.length > maxAttestors) faults.push(`there are more than ${maxAttestors}`);
  return named.flatMap(([name, body]) => parseAttestor(name, body, trustDomain, faults) ?? []);
}

function parseAttestor(name: string, body: unknown, trustDomain: string, faults: string[]): AttestorConfig | undefined {
  const say = (member: string, fault: string): undefined => void faults.push(`${name}.${member} ${fault}`);
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) faults.push(`"${name}" is no name of an attestor: lower-case letters, digits and dashes`);
  if (name === "acme") faults.push("acme is the name of what certificates by ACME begin with; choose another");
  if (!isObject(body)) return void faults.push(`${name} is no object`);
  const type = attestorTypes.find((one) => one === body["type"]);
  if (type === undefined) return say("type", `is none of ${attestorTypes.join(", ")}`);
  const allowed = [...commonMembers, ...members[type]];
  for (const member of Object.keys(body)) {
    if (allowed.includes(member)) continue;
    const near = nearestName(member, allowed);
    say(member, `is not known for ${type}; ${near === undefined ? `there are ${allowed.join(", ")}` : `did you mean ${near}?`}`);
  }

  const text = (member: string): string | undefined => {
    const found = body[member];
    if (found === undefined || (typeof found === "string" && found !== "" && found.length <= maxTextLength)) return found;
    return say(member, "is no text");
  };
  const needed = (member: string): string => text(member) ?? (body[member] === undefined ? say(member, "is missing") : undefined) ?? "";
  const url = (member: string): string | undefined => {
    const found = text(member);
    return found === undefined || isPlainUrl(found) ? found : say(member, "is no https URL without a query");
  };
  const flag = (member: string, fallback: boolean): boolean => {
    const found = body[member];
    if (found === undefined || typeof found === "boolean") return found ?? fallback;
    return say(member, "is neither true nor false") ?? fallback;
  };
  const [renew, audience] = [text("renew") ?? "svid", text("audience") ?? `spiffe://${trustDomain}`];
  if (renew !== "svid" && renew !== "attest") say("renew", 'is neither "svid" nor "attest"');
  const common = { name, rules: parseRules(body, type, trustDomain, say), renew: renew === "attest" ? renew : "svid" } as const;
  const caFile = text("caFile");
  const namedKeys = (): TokenIssuer["keys"] => {
    const [keysUrl, keysFile] = [url("keysUrl"), text("keysFile")];
    if (keysUrl !== undefined && keysFile !== undefined) say("keysUrl", "and keysFile exclude each other");
    return keysFile !== undefined ? { kind: "file", path: keysFile } : keysUrl !== undefined ? { kind: "url", url: keysUrl } : undefined;
  };
  const tokenIssuer = (): TokenIssuer => {
    const keys = namedKeys();
    const issuer = needed("issuer");
    // Of a cluster whose keys are at hand it is a name and nothing else.
    if (keys === undefined && issuer !== "" && !isPlainUrl(issuer)) say("issuer", "is no https URL; its keys would be looked up there. Name keysUrl or keysFile");
    return { issuer, keys, caFile };
  };
  const requireCondition = (fact: string | undefined, why: string): void => {
    if (common.rules.some(({ when }) => !when.some((one) => fact === undefined || one.fact === fact))) say("when", why);
  };

  switch (type) {
    case "kubernetes": {
      const api = url("api");
      if (api === undefined && body["issuer"] === undefined) say("api", "or issuer: name the one that tokens are verified by");
      const verify = api === undefined ? { kind: "keys", ...tokenIssuer() } as const
        : { kind: "api", url: api, tokenFile: needed("tokenFile"), caFile, issuer: text("issuer"), keys: namedKeys() } as const;
      return { ...common, type, audience, verify, podBound: flag("podBound", true) };
    }
    case "oidc":
      requireCondition(undefined, "is missing: everybody whom the issuer gives a token could have a certificate");
      return { ...common, type, audience, ...tokenIssuer(), once: flag("once", true) };
    case "x509":
      return { ...common, type, anchorsFile: needed("anchorsFile") };
    case "aws-iam": {
      requireCondition("account", "has no account: everybody who has an AWS account could have a certificate");
      const regions = listOf(body["regions"]) ?? say("regions", "is no list of regions, e.g. [\"eu-central-1\"]") ?? [];
      if (!regions.every((region) => /^[a-z]{2,4}(-[a-z]{2,10}){1,3}-\d$/.test(region)) || regions.length === 0) say("regions", "has something that is no region");
      return { ...common, type, regions, endpoint: url("endpoint"), caFile };
    }
  }
}

function parseRules(body: Readonly<Record<string, unknown>>, type: AttestorType, trustDomain: string, say: (member: string, fault: string) => undefined): readonly AttestationRule[] {
  const { rules, when, spiffeId = defaultTemplates[type], dnsNames } = body;
  if (rules === undefined) return [parseRule({ when, spiffeId, dnsNames }, "", type, trustDomain, say)];
  if (when !== undefined || body["spiffeId"] !== undefined || dnsNames !== undefined) say("rules", "stands in place of when, spiffeId and dnsNames");
  if (!Array.isArray(rules) || rules.length === 0 || rules.length > maxRules) return say("rules", `is no list of 1 to ${maxRules}`) ?? [];
  return rules.map((rule: unknown, index) => {
    const given = isObject(rule) ? rule : {};
    const odd = Object.keys(given).find((member) => !ruleMembers.includes(member));
    if (!isObject(rule) || odd !== undefined) say(`rules[${index}]`, `has ${odd ?? "no members"}; a rule has ${ruleMembers.join(", ")}`);
    return parseRule({ when: given["when"], spiffeId: given["spiffeId"], dnsNames: given["dnsNames"] }, `rules[${index}].`, type, trustDomain, say);
  });
}

function parseRule(
  { when = {}, spiffeId, dnsNames = [] }: { readonly when: unknown; readonly spiffeId: unknown; readonly dnsNames: unknown },
  at: string, type: AttestorType, trustDomain: string, say: (member: string, fault: string) => undefined,
): AttestationRule {
  const known = factsOf[type];
  const template = (member: string, text: unknown, parse: typeof parseIdTemplate): NameTemplate => {
    try {
      if (typeof text !== "string") throw new TemplateError("it is no text");
      return parse(text, trustDomain, known);
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      return say(`${at}${member}`, `is refused: ${error.message}`) ?? { text: "", parts: [] };
    }
  };
  if (!isObject(when) || Object.keys(when).length > maxRules) say(`${at}when`, "is no object of facts");
  const conditions = Object.entries(isObject(when) ? when : {}).map(([fact, wanted]): Condition => {
    if (known !== undefined && !known.includes(fact)) say(`${at}when`, `has "${fact}"; there are ${known.join(", ")}`);
    const values = typeof wanted === "string" ? [wanted] : listOf(wanted) ?? [];
    if (values.length === 0) say(`${at}when.${fact}`, "is neither a text nor a list of texts");
    // A star behind a letter would take in names that only begin alike: acme* has acme-evil in it.
    if (values.some((value) => value.includes("*") && !/^[^*]*[/:.\-@]\*$/.test(value))) say(`${at}when.${fact}`, "has a star that is not the end, behind one of / : . - @");
    return { fact, values };
  });
  const names = Array.isArray(dnsNames) && dnsNames.length <= maxDnsNames ? dnsNames : say(`${at}dnsNames`, `is no list of at most ${maxDnsNames}`) ?? [];
  return { when: conditions, spiffeId: template("spiffeId", spiffeId, parseIdTemplate), dnsNames: names.map((text: unknown) => template("dnsNames", text, parseDnsTemplate)) };
}

function listOf(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) && value.length <= maxValues && value.every((item) => typeof item === "string" && item.length <= maxTextLength) ? value : undefined;
}

function isPlainUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === "https:" && url.search === "" && url.hash === "" && url.username === "" && url.password === "";
}

const commonMembers = ["type", "rules", "when", "spiffeId", "dnsNames", "renew"];
const ruleMembers = ["when", "spiffeId", "dnsNames"];
const members: Readonly<Record<AttestorType, readonly string[]>> = {
  kubernetes: ["audience", "api", "tokenFile", "caFile", "issuer", "keysUrl", "keysFile", "podBound"],
  oidc: ["audience", "issuer", "keysUrl", "keysFile", "caFile", "once"],
  x509: ["anchorsFile"],
  "aws-iam": ["regions", "endpoint", "caFile"],
};
/** What templates and conditions may speak of; undefined: any claim. */
const factsOf: Readonly<Record<AttestorType, readonly string[] | undefined>> = {
  kubernetes: ["namespace", "serviceAccount", "pod", "node"],
  oidc: undefined,
  x509: ["commonName", "organization", "organizationalUnit", "dnsName", "uri", "email", "serialNumber", "fingerprint"],
  "aws-iam": ["account", "role", "session", "user", "arn", "uniqueId"],
};
const defaultTemplates: Readonly<Record<AttestorType, string | undefined>> = {
  kubernetes: "spiffe://{trustDomain}/ns/{namespace}/sa/{serviceAccount}",
  oidc: undefined,
  x509: undefined,
  "aws-iam": "spiffe://{trustDomain}/aws/{account}/role/{role}",
};
const maxAttestors = 256;
const maxRules = 64;
const maxValues = 256;
const maxDnsNames = 16;
const maxTextLength = 1024;
