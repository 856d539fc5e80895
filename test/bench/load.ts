/** What a load run saw from the client's side. */
export interface LoadResult {
  readonly count: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Runs `count` operations with `concurrency` of them under way, each worker one after another; fails with the first that fails. */
export async function runLoad(count: number, concurrency: number, operation: (index: number, worker: number) => Promise<void>): Promise<LoadResult> {
  const latenciesMs = new Float64Array(count);
  let next = 0;
  const started = performance.now();
  const worker = async (id: number): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const before = performance.now();
      await operation(index, id);
      latenciesMs[index] = performance.now() - before;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, (_, id) => worker(id)));
  const seconds = (performance.now() - started) / 1000;
  latenciesMs.sort();
  return { count, seconds, perSecond: count / seconds, p50Ms: quantile(latenciesMs, 0.5), p99Ms: quantile(latenciesMs, 0.99) };
}

/** Middle value of a few repeated measurements. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Prints rows as a table whose numbers are aligned to the right. */
export function printTable(title: string, header: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = header.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) => cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join("  ");
  console.log(`\n${title}\n${line(header)}\n${rows.map(line).join("\n")}`);
}

function quantile(sorted: Float64Array, q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}
