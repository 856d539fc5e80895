import { decodePem } from "../pki/pem.ts";
import { parseCertificate } from "../pki/certificate.ts";
import type { CheckFacts } from "./facts.ts";
import { finding, shortId, type Finding, type Trouble } from "./finding.ts";

/** The CA above this one, where there is one: whether it is followed, and whether its word keeps this one to its own trust domain. */
export function judgeUpstream({ authorities, vitals, nowMs }: CheckFacts): readonly Finding[] {
  if (vitals?.upstream === undefined) return [];
  const { upstream, trustDomain } = vitals;
  const issuer = authorities.find(({ type, state }) => type === "issuer" && state === "active");
  const subject = `the CA above, ${upstream.trustDomain},`;
  return [
    finding("upstream-followed", judgeFollowing(upstream, issuer?.notAfter, nowMs), subject),
    ...(issuer === undefined ? [] : [finding("upstream-constrained", isConstrained(issuer.certificate, trustDomain) ? undefined : unconstrained(upstream.trustDomain), `issuer ${shortId(issuer.id)}`)]),
  ];
}

function judgeFollowing({ url, succeededAt, failures, error }: NonNullable<NonNullable<CheckFacts["vitals"]>["upstream"]>, notAfter: string | undefined, nowMs: number): Trouble | undefined {
  const ageMs = nowMs - Date.parse(succeededAt ?? "1970-01-01T00:00:00.000Z");
  if (failures === 0 && (succeededAt === undefined || ageMs < staleUpstreamMs)) return undefined;
  const what = `${url} was last heard ${succeededAt ?? "never"}: ${error ?? "nobody has looked since"}; this CA's issuer ${notAfter === undefined ? "is missing" : `ends at ${notAfter}`}`;
  return ageMs < staleUpstreamMs ? undefined : { status: "warning", what };
}

function unconstrained(parent: string): Trouble {
  return { status: "warning", what: `it has no URI constraint: software that trusts the root of ${parent} and looks at no trust domains would take its word for any other cluster` };
}

function isConstrained(pem: string, trustDomain: string): boolean {
  const [der = new Uint8Array()] = decodePem(pem, "CERTIFICATE");
  const { permitted } = parseCertificate(der).nameConstraints ?? {};
  return permitted !== undefined && permitted.uris.length > 0 && permitted.uris.every((host) => host === trustDomain);
}

/** Longer than it takes to restart that CA. */
export const staleUpstreamMs = 5 * 60_000;
