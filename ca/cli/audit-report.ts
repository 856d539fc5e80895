import type { Misfit, MisfitKind } from "../audit/misfit.ts";
import type { LogFits, Verdict } from "../audit/verify.ts";
import { inertJson } from "../settings/inert.ts";
import { wrap } from "../settings/wrap.ts";

/** Where the key came from with which the log was verified: `path` is the file it was in, or would have been. */
type KeySource = { readonly kind: "option" } | { readonly kind: "file" | "store"; readonly path: string };

export interface KeyUsed {
  readonly source: KeySource;
  readonly verifierKey: string | undefined;
}

/** The verdict as one JSON object: that of `verifyLog`, the root in base64, and the key with its origin. */
export function reportAsJson(verdict: Verdict, { source, verifierKey }: KeyUsed): string {
  const shown = verdict.ok ? { ...verdict, root: Buffer.from(verdict.root).toString("base64") } : verdict;
  return `${inertJson({ ...shown, verifierKey, keySource: source.kind }, 2)}\n`;
}

/** The verdict for people: what was found, what it rests on and what to do next, 80 columns wide. */
export function reportAsText(verdict: Verdict, key: KeyUsed): string {
  return verdict.ok ? reportFit(verdict, key) : reportMisfit(verdict, key);
}

function reportFit(fits: LogFits, key: KeyUsed): string {
  const rows: readonly (readonly [string, string])[] = [
    ["entries", `${count(fits.size)}, each in its place and as it was sealed`],
    ["checkpoints", `${count(fits.checkpoints)}, each signed by the log's key over these entries`],
    ["kept elsewhere", fits.outsideCheckpoints > 0 ? `${count(fits.outsideCheckpoints)}, contained in this log` : "none given to compare with"],
    ["certificates", `${count(fits.certificates)} issued, ${count(fits.revocations)} revoked: rows and entries agree`],
    ["root", Buffer.from(fits.root).toString("base64")],
    ["key", describeKey(key)],
  ];
  const advice: string[] = [];
  if (key.source.kind === "store") advice.push(storeKeyCaution(key.source.path));
  if (fits.outsideCheckpoints === 0) {
    advice.push("To notice if the end of the log is ever cut off, keep checkpoints out of reach of the database's host, " +
      "and give them to this command: countersign audit checkpoint > FILE, later --checkpoint FILE.");
  }
  return paragraphs(`√ The audit log ${fits.origin ?? ""} fits.`, table(rows), ...advice.map((text) => wrap(text)));
}

function reportMisfit(found: Misfit, key: KeyUsed): string {
  return paragraphs(
    `× The audit log does not fit: ${titles[found.kind]}${describePlace(found)}.`,
    wrap(found.message),
    table([["kind", found.kind], ["key", describeKey(key)]]),
    ...(key.source.kind === "store" ? [wrap(storeKeyCaution(key.source.path))] : []),
    wrap(`What to do: ${found.kind === "unknown_key" ? keyAdvice : evidenceAdvice}`),
  );
}

function describePlace({ firstIndex, lastIndex }: Misfit): string {
  if (firstIndex === undefined) return "";
  return lastIndex === undefined ? ` (entry ${firstIndex})` : ` (entries ${firstIndex} to ${lastIndex})`;
}

function describeKey({ source, verifierKey = "none" }: KeyUsed): string {
  if (source.kind === "option") return `${verifierKey}\n(from --key)`;
  return `${verifierKey}\n(from ${source.kind === "file" ? source.path : "the store itself"})`;
}

function storeKeyCaution(path: string): string {
  return `‼ The key is the one that the store names, since there is no --key and no file ${path}. Somebody who rewrote ` +
    "the whole store would have put theirs there. Compare it with the key printed at the first start, and give it as " +
    "--key.";
}

function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  const margin = " ".repeat(width + 4);
  return rows.map(([name, text]) => `  ${name.padEnd(width)}  ${text.replaceAll("\n", `\n${margin}`)}`).join("\n");
}

function paragraphs(...texts: readonly string[]): string {
  return `${texts.join("\n\n")}\n`;
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

const titles: Readonly<Record<MisfitKind, string>> = {
  altered: "altered",
  removed: "removed",
  inserted: "inserted",
  reordered: "reordered",
  truncated: "cut off",
  forked: "another history",
  unsealed: "not sealed",
  checkpoint: "a bad checkpoint",
  unknown_key: "another key",
  subtree: "a bad subtree hash",
  entry_without_row: "an entry without its row",
  row_without_entry: "a row without an entry",
  row_differs: "a row that says something else",
};

const evidenceAdvice = "keep a copy of the database as it is, it is evidence. Find out who can write to it, and compare " +
  "it with your last backup that fits. Treat what this entry tells of as open until then; revoke certificates you cannot " +
  "account for.";
const keyAdvice = "make sure that this is the store and the key you mean (--store, --data-dir, --key). If they are, " +
  "somebody has written a log of their own: keep a copy of the database as evidence and go by your last backup that fits.";
