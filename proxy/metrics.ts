/**
 * Label values by label name; every label of the metric must be given. An object that is used again finds its series without
 * comparing one value, so what counts often keeps its labels.
 */
export type Labels = Readonly<Record<string, string>>;

/** One series of a counter, found once: what is counted for each request costs an addition. */
export interface CounterSeries {
  /** Adds `by` (default 1, never negative). */
  inc(by?: number): void;
}

/** Only grows. */
export interface Counter {
  /** Adds `by` (default 1, never negative). */
  inc(labels?: Labels, by?: number): void;
  of(labels: Labels): CounterSeries;
}

/** A value of now. */
export interface Gauge {
  set(value: number, labels?: Labels): void;
  /** Adds `by`, which may be negative. */
  add(by: number, labels?: Labels): void;
}

/** One series of a histogram, found once. */
export interface HistogramSeries {
  observe(value: number): void;
}

/** How values are spread. */
export interface Histogram {
  observe(value: number, labels?: Labels): void;
  of(labels: Labels): HistogramSeries;
}

/** Registry of everything `/metrics` shows. A name registered twice gives the same metric. */
export interface Metrics {
  counter(name: string, help: string, labelNames?: readonly string[]): Counter;
  gauge(name: string, help: string, labelNames?: readonly string[]): Gauge;
  /** A gauge that is read when someone asks; left out while `read` gives undefined. */
  gaugeOf(name: string, help: string, read: () => number | undefined): void;
  /** `buckets` are upper bounds in ascending order; +Inf is added. */
  histogram(name: string, help: string, buckets: readonly number[], labelNames?: readonly string[]): Histogram;
  /** The Prometheus text format, version 0.0.4. */
  text(): string;
  /** What is registered, in the order it was, whether it has a value or not. */
  describe(): readonly MetricDescription[];
}

export interface MetricDescription {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labelNames: readonly string[];
}

/** Makes an empty registry. @source Prometheus exposition formats, text format 0.0.4 */
export function createMetrics(): Metrics {
  const metrics = new Map<string, Metric>();

  function register(name: string, help: string, type: Metric["type"], labelNames: readonly string[], buckets: readonly number[] = []): Metric {
    const known = metrics.get(name);
    if (known !== undefined) return known;
    const metric: Metric = { name, help, type, labelNames, buckets, series: new Map(), known: new WeakMap() };
    metrics.set(name, metric);
    if (labelNames.length === 0 && type !== "histogram") seriesOf(metric, noLabels);
    return metric;
  }

  return {
    counter(name, help, labelNames = []) {
      const metric = register(name, help, "counter", labelNames);
      return {
        inc: (labels = noLabels, by = 1) => void (seriesOf(metric, labels).value += by),
        of(labels) {
          const series = findSeries(metric, labels);
          return { inc: (by = 1) => void (series.value += by) };
        },
      };
    },
    gauge(name, help, labelNames = []) {
      const metric = register(name, help, "gauge", labelNames);
      return {
        set: (value, labels = noLabels) => void (seriesOf(metric, labels).value = value),
        add: (by, labels = noLabels) => void (seriesOf(metric, labels).value += by),
      };
    },
    gaugeOf(name, help, read) {
      metrics.set(name, { name, help, type: "gauge", labelNames: [], buckets: [], series: new Map(), known: new WeakMap(), read });
    },
    histogram(name, help, buckets, labelNames = []) {
      const metric = register(name, help, "histogram", labelNames, buckets);
      return {
        observe: (value, labels = noLabels) => observe(metric, seriesOf(metric, labels), value),
        of(labels) {
          const series = findSeries(metric, labels);
          return { observe: (value) => observe(metric, series, value) };
        },
      };
    },
    text: () => [...metrics.values()].map(format).join(""),
    describe: () => [...metrics.values()].map(({ name, type, help, labelNames }) => ({ name, type, help, labelNames })),
  };
}

interface Series {
  readonly labels: string;
  /** Value of a counter or gauge, sum of a histogram. */
  value: number;
  count: number;
  readonly bucketCounts: number[];
}

interface Metric extends MetricDescription {
  readonly buckets: readonly number[];
  readonly series: Map<string, Series>;
  readonly known: WeakMap<Labels, Series>;
  readonly read?: () => number | undefined;
}

function seriesOf(metric: Metric, labels: Labels): Series {
  const known = metric.known.get(labels);
  if (known !== undefined) return known;
  const series = findSeries(metric, labels);
  metric.known.set(labels, series);
  return series;
}

/** The series of these labels. Beyond `maxSeries` everything new is counted as "other": peers choose identities, memory is ours. */
function findSeries(metric: Metric, labels: Labels): Series {
  let key = "";
  for (const name of metric.labelNames) key += `${labels[name] ?? ""}\u0000`;
  const known = metric.series.get(key);
  if (known !== undefined) return known;
  const full = metric.series.size >= maxSeries;
  const otherKey = "other\u0000".repeat(metric.labelNames.length);
  if (full && key !== otherKey) return metric.series.get(otherKey) ?? addSeries(metric, otherKey, () => "other");
  return addSeries(metric, key, (name) => labels[name] ?? "");
}

function addSeries(metric: Metric, key: string, valueOf: (name: string) => string): Series {
  const labels = metric.labelNames.map((name) => `${name}="${escape(valueOf(name).slice(0, maxLabelLength))}"`).join(",");
  const series = { labels, value: 0, count: 0, bucketCounts: metric.buckets.map(() => 0) };
  metric.series.set(key, series);
  return series;
}

function observe({ buckets }: Metric, series: Series, value: number): void {
  series.value += value;
  series.count += 1;
  let index = 0;
  while (index < buckets.length && value > buckets[index]!) index++;
  if (index < buckets.length) series.bucketCounts[index]! += 1;
}

function format(metric: Metric): string {
  const { name, help, type, series, read } = metric;
  const lines: string[] = [];
  if (read !== undefined) {
    const value = read();
    if (value !== undefined) lines.push(line(name, "", value));
  }
  for (const one of series.values()) lines.push(type === "histogram" ? formatHistogram(metric, one) : line(name, one.labels, one.value));
  return `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

function formatHistogram({ name, buckets }: Metric, { labels, value, count, bucketCounts }: Series): string {
  const comma = labels === "" ? "" : ",";
  let below = 0;
  const lines = buckets.map((bound, index) => {
    below += bucketCounts[index] ?? 0;
    return line(`${name}_bucket`, `${labels}${comma}le="${bound}"`, below);
  });
  lines.push(
    line(`${name}_bucket`, `${labels}${comma}le="+Inf"`, count),
    line(`${name}_sum`, labels, value),
    line(`${name}_count`, labels, count),
  );
  return lines.join("");
}

function line(name: string, labels: string, value: number): string {
  return `${name}${labels === "" ? "" : `{${labels}}`} ${value}\n`;
}

function escape(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

const noLabels: Labels = {};
/** Series of one metric; a proxy that talks to more peers than this is told so by the series "other". */
const maxSeries = 1000;
/** A SPIFFE ID may have 2048 characters, a label that long helps nobody. */
const maxLabelLength = 512;
