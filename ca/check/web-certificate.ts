import type { CheckFacts } from "./facts.ts";
import { finding, type Finding, type Trouble } from "./finding.ts";

/** The certificate by which others know the bundle endpoint's host name, where there is one. */
export function judgeWebCertificate({ vitals, nowMs }: CheckFacts): readonly Finding[] {
  const certificate = vitals?.webCertificate;
  if (certificate === undefined) return [];
  return [finding("web-certificate", judgeOne(certificate, nowMs), `the web certificate for ${certificate.names.join(", ")}`)];
}

function judgeOne({ notBefore, notAfter, trouble }: NonNullable<NonNullable<CheckFacts["vitals"]>["webCertificate"]>, nowMs: number): Trouble | undefined {
  const [beginMs, endMs] = [Date.parse(notBefore), Date.parse(notAfter)];
  if (endMs <= nowMs) return { status: "failed", what: `it ended at ${notAfter}` };
  if (trouble !== undefined) return { status: "warning", what: trouble, remedy: `the one before stays in use until ${notAfter}` };
  if (beginMs > nowMs) return { status: "failed", what: `it begins at ${notBefore}`, remedy: "look at this machine's clock" };
  return (endMs - nowMs) / (endMs - beginMs) < lateWebShare ? { status: "warning", what: `it ends at ${notAfter}` } : undefined;
}

/** certbot and others renew with a third of the life left. */
export const lateWebShare = 0.25;
