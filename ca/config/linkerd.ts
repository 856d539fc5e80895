import type { AttestorConfig, KubernetesAttestor } from "./attestors.ts";
import type { SettingKey } from "./table.ts";
import { parseListen, type Listen } from "./values.ts";
import { ConfigError } from "../settings/errors.ts";

/** Where Linkerd's identity protocol is spoken, and who judges its tokens. */
export interface LinkerdConfig {
  readonly listen: Listen;
  /** By name. */
  readonly attestor: string;
}

/**
 * Reads where Linkerd's identity protocol is spoken.
 * @param apiDnsNames  of the certificate that is shown there, too
 * @returns undefined: it is not
 * @throws {ConfigError} value_refused
 */
export function readLinkerd({ linkerdListen, linkerdAttestor }: Partial<Record<SettingKey, string>>, attestors: readonly AttestorConfig[], apiDnsNames: readonly string[]): LinkerdConfig | undefined {
  if (linkerdListen === undefined) return linkerdAttestor === undefined ? undefined : refuse("linkerdAttestor", "it says nothing without linkerdListen");
  const listen = parseListen(linkerdListen) ?? refuse("linkerdListen", "write host:port, e.g. *:8080");
  const attestor = attestors.find(({ name }) => name === linkerdAttestor);
  if (attestor?.type !== "kubernetes") return refuse("linkerdAttestor", "name one of the attestors, of the type kubernetes, whose audience is that of the proxies' tokens: identity.l5d.io");
  if (attestor.rules.some(({ dnsNames }) => dnsNames.length === 0)) {
    refuse("linkerdAttestor", `${attestor.name} gives no DNS names, by which Linkerd knows workloads; set dnsNames, e.g. ["{serviceAccount}.{namespace}${identityMark}linkerd.cluster.local"]`);
  }
  for (const ending of endingsOf(attestor)) {
    if (apiDnsNames.some((name) => name.endsWith(ending))) continue;
    const [namespace = ""] = ending.slice(identityMark.length).split(".");
    refuse("linkerdListen", `no name of the API ends with ${ending}, and proxies talk to nobody else than their identity service; add its name to apiNames, which is linkerd-identity.${namespace}${ending} unless it was changed`);
  }
  return { listen, attestor: attestor.name };
}

/**
 * How the names of one Linkerd end: `.serviceaccount.identity.CONTROL-NAMESPACE.TRUST-DOMAIN`, workloads' and its identity service's alike.
 * @source linkerd2, charts/partials/templates/_proxy.tpl: LINKERD2_PROXY_IDENTITY_SVC_NAME
 */
function endingsOf({ rules }: KubernetesAttestor): ReadonlySet<string> {
  const endings = rules.flatMap(({ dnsNames }) => dnsNames.map(({ text }) => text.slice(text.indexOf(identityMark))));
  return new Set(endings.filter((ending) => ending.startsWith(identityMark) && !ending.includes("{")));
}

function refuse(key: SettingKey, why: string): never {
  throw new ConfigError("value_refused", `${key} is refused: ${why}`);
}

const identityMark = ".serviceaccount.identity.";
