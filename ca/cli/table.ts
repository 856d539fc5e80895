import { inert } from "../settings/inert.ts";

/**
 * Rows under a header, columns padded to fit. A last cell that would end beyond column 79 gets a line of its own,
 * whole, so that it can still be copied.
 */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows.map((row) => row.map(inert))];
  const widths = header.slice(0, -1).map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) => {
      const start = widths.map((width, column) => (row[column] ?? "").padEnd(width)).join("  ");
      const last = row[widths.length] ?? "";
      const line = `${start}  ${last}`.trimEnd();
      return line.length <= maxColumns ? `${line}\n` : `${start.trimEnd()}\n  ${last}\n`;
    })
    .join("");
}

/** `2026-11-21 05:00Z`; a dash for what is not there. */
export function minute(time: string | undefined): string {
  return time === undefined ? "-" : `${time.slice(0, 16).replace("T", " ")}Z`;
}

/** The path of a SPIFFE ID: every ID in a listing is of the CA's own trust domain. */
export function pathOf(spiffeId: string): string {
  return spiffeId.replace(/^spiffe:\/\/[^/]*/, "");
}

const maxColumns = 79;
