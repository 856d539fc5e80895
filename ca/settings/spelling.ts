/** The known name at most two edits away from what was written, letter case and separators aside: for "did you mean". */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const bare = (text: string): string => text.replaceAll(/[-_]/g, "").toLowerCase();
  const scored = known.map((candidate) => ({ candidate, slips: editDistance(bare(name), bare(candidate)) }));
  scored.sort((a, b) => a.slips - b.slips);
  return scored[0] !== undefined && scored[0].slips <= maxSlips ? scored[0].candidate : undefined;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substituted, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}

/** Two slips of the pen are still a misspelling; more are another word. */
const maxSlips = 2;
