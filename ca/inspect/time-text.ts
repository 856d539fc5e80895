/** `2026-11-21 05:00:00Z`. */
export function momentOf(epochMs: number): string {
  return `${new Date(epochMs).toISOString().slice(0, 19).replace("T", " ")}Z`;
}

/** A duration in a unit that leaves enough digits to tell from, e.g. `90 min`, `48 h`, `10 years`. */
export function spanOf(durationMs: number): string {
  const [name, unitMs] = units.find(([, unitMs, least]) => durationMs >= least * unitMs) ?? ["s", 1000];
  return `${Math.round(durationMs / unitMs)} ${name}`;
}

/** Name, length in ms, and how many there must be for it to be told in them. */
const units: readonly (readonly [string, number, number])[] = [["years", 365.25 * 86_400_000, 2], ["days", 86_400_000, 4], ["h", 3_600_000, 2], ["min", 60_000, 2]];
