import { finding, type Finding } from "./finding.ts";
import type { CheckFacts } from "./facts.ts";

/** Whether the CA issues, and whether its settings let others reach it. */
export function judgeApi({ readiness: { ready, reasons, warnings = [] }, vitals, version, notPermitted }: CheckFacts): readonly Finding[] {
  return [
    finding("api-ready", ready ? undefined : { status: "failed", what: reasons.join("; ") }),
    ...(warnings.length === 0 ? [finding("api-warnings")] : warnings.map((what) => finding("api-warnings", { status: "warning", what }))),
    ...(notPermitted.length === 0 ? [] : [finding("api-permitted", { status: "warning", what: `your role may not read ${notPermitted.join(", ")}` })]),
    ...(vitals === undefined ? [] : [
      finding("api-version", vitals.version === version ? undefined : { status: "warning", what: `the CA is ${vitals.version}, this is ${version}` }),
    ]),
  ];
}

/** What is set and works, but not for others. */
export function judgeConfig({ vitals }: CheckFacts): readonly Finding[] {
  if (vitals === undefined) return [];
  const { publicUrl, listensBeyondLoopback } = vitals;
  const { hostname } = new URL(publicUrl);
  const isMisleading = listensBeyondLoopback && loopback.test(hostname);
  return [finding("config-public-url", isMisleading ? { status: "warning", what: `it is ${publicUrl}, which leads a proxy on another machine to itself` } : undefined)];
}

const loopback = /^(?:localhost|127\.[\d.]+|\[::1\]|0\.0\.0\.0|\[::\])$/;
