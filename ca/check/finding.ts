import { catalogue, type CheckId } from "./catalogue.ts";

export type Status = "ok" | "warning" | "failed";

/** One line of `countersign check`. */
export interface Finding {
  readonly check: CheckId;
  readonly category: string;
  readonly status: Status;
  /** What was looked at, as it should be. */
  readonly name: string;
  /** What is not as it should be, and what to do. */
  readonly hint?: string;
}

/** What is wrong, and how bad it is. */
export interface Trouble {
  readonly status: "warning" | "failed";
  /** The facts; what to do follows from the catalogue. */
  readonly what: string;
  /** In place of what the catalogue says; "" where the facts say what to do. */
  readonly remedy?: string;
}

/** A finding of the catalogue. @param subject what it is about, where there are several, before the words of the catalogue */
export function finding(check: CheckId, trouble?: Trouble, subject?: string): Finding {
  const { category, holds, remedy } = catalogue[check];
  const name = subject === undefined ? holds : `${subject} ${holds}`;
  if (trouble === undefined) return { check, category, status: "ok", name };
  return { check, category, status: trouble.status, name, hint: [trouble.what, trouble.remedy ?? remedy].filter((part) => part !== "").join("; ") };
}

/** What can be told of a matter and not be judged. @param name  the whole line, in place of what the catalogue says */
export function observed(check: CheckId, name: string): Finding {
  return { check, category: catalogue[check].category, status: "ok", name };
}

/** One line for many of a kind: it is well when nobody is named, else the first of them are. */
export function findingOf(check: CheckId, status: Trouble["status"], offenders: readonly string[]): Finding {
  if (offenders.length === 0) return finding(check);
  const more = offenders.length > maxNamed ? ` and ${offenders.length - maxNamed} more` : "";
  return finding(check, { status, what: `${offenders.slice(0, maxNamed).join(", ")}${more}` });
}

/** The worst of them. */
export function verdictOf(findings: readonly Finding[]): Status {
  if (findings.some(({ status }) => status === "failed")) return "failed";
  return findings.some(({ status }) => status === "warning") ? "warning" : "ok";
}

/** The first digits of an ID, as the other commands take them. */
export const shortId = (id: string): string => id.slice(0, 12);

const maxNamed = 5;
