import { describe, expect, test } from "vitest";
import { createMetrics } from "../../proxy/metrics.ts";

describe("the text of /metrics", () => {
  test("has help, type and one line a series", () => {
    const metrics = createMetrics();
    const requests = metrics.counter("requests_total", "Requests.", ["direction", "status"]);
    requests.inc({ direction: "in", status: "200" });
    requests.inc({ direction: "in", status: "200" }, 2);
    requests.inc({ direction: "out", status: "503" });
    const open = metrics.gauge("open", "Open connections.");
    open.add(3);
    open.add(-1);
    expect(metrics.text()).toBe(
      "# HELP requests_total Requests.\n# TYPE requests_total counter\n" +
        'requests_total{direction="in",status="200"} 3\nrequests_total{direction="out",status="503"} 1\n' +
        "# HELP open Open connections.\n# TYPE open gauge\nopen 2\n",
    );
  });

  test("counts a histogram's buckets cumulatively", () => {
    const metrics = createMetrics();
    const seconds = metrics.histogram("seconds", "Durations.", [0.1, 1], ["path"]);
    for (const value of [0.05, 0.1, 0.5, 7]) seconds.observe(value, { path: "a" });
    expect(metrics.text().split("\n").slice(2, -1)).toEqual([
      'seconds_bucket{path="a",le="0.1"} 2', 'seconds_bucket{path="a",le="1"} 3', 'seconds_bucket{path="a",le="+Inf"} 4',
      'seconds_sum{path="a"} 7.65', 'seconds_count{path="a"} 4',
    ]);
  });

  test("a label value cannot break out of its quotes or its line", () => {
    const metrics = createMetrics();
    metrics.counter("c", "C.", ["id"]).inc({ id: 'a"} 9\nevil 1\\' });
    expect(metrics.text().split("\n").slice(2, -1)).toEqual(['c{id="a\\"} 9\\nevil 1\\\\"} 1']);
  });

  test("a metric asked for twice is the same one; one that is read shows its value of now, or nothing", () => {
    const metrics = createMetrics();
    metrics.counter("c", "C.").inc();
    metrics.counter("c", "C.").inc();
    let value: number | undefined;
    metrics.gaugeOf("g", "G.", () => value);
    expect(metrics.text()).toContain("\nc 2\n");
    expect(metrics.text()).not.toMatch(/^g /m);
    value = 1.5;
    expect(metrics.text()).toMatch(/^g 1.5$/m);
  });

  test("a peer that invents labels cannot fill the memory: beyond a bound they are one series", () => {
    const metrics = createMetrics();
    const counter = metrics.counter("c", "C.", ["id"]);
    for (let index = 0; index < 5000; index++) counter.inc({ id: `spiffe://east/${index}` });
    const lines = metrics.text().split("\n").filter((line) => line.startsWith("c{"));
    expect(lines).toHaveLength(1001);
    expect(lines).toContain('c{id="other"} 4000');
    const long = createMetrics();
    long.counter("c", "C.", ["id"]).inc({ id: "x".repeat(10_000) });
    expect(long.text().length).toBeLessThan(700);
  });
});
