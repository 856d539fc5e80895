import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { caMetrics } from "../../ca/metrics.ts";
import { programAvailable } from "../support/programs.ts";

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const rulesPath = at("infra/prometheus/countersign.rules.yaml");
const testsPath = at("test/infra/alerts.tests.yaml");
const rules = (parse(readFileSync(rulesPath, "utf8")) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules);
const board = JSON.parse(readFileSync(at("infra/grafana/countersign.json"), "utf8")) as { readonly panels: readonly Panel[] };
const expressions = board.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
const promtool = programAvailable("promtool");

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly action: string };
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

describe("the alerts", () => {
  test("say each how bad it is, what is wrong, and what to do", () => {
    expect(rules.length).toBeGreaterThan(10);
    for (const { alert, labels, annotations } of rules) {
      expect(["warning", "critical"], alert).toContain(labels.severity);
      expect(annotations.summary.length, alert).toBeGreaterThan(20);
      expect(annotations.action, alert).toMatch(/^.{40,}$/);
    }
  });

  test("have each a test in which it fires, and one in which it does not", () => {
    const { tests } = parse(readFileSync(testsPath, "utf8")) as { tests: { alert_rule_test: { alertname: string; exp_alerts?: unknown[] }[] }[] };
    const cases = tests.flatMap((each) => each.alert_rule_test);
    for (const { alert } of rules) {
      const counts = cases.filter(({ alertname }) => alertname === alert).map(({ exp_alerts = [] }) => exp_alerts.length);
      expect([Math.min(...counts), Math.max(...counts)], alert).toEqual([0, 1]);
    }
  });

  test.skipIf(!promtool)("fire when they should, by promtool", () => {
    const { status, stdout, stderr } = spawnSync("promtool", ["test", "rules", testsPath], { encoding: "utf8" });
    expect([status, stdout + stderr]).toEqual([0, expect.stringContaining("SUCCESS")]);
  });
});

describe("the board", () => {
  test("has an expression in every panel", () => {
    const panels = board.panels.filter(({ type }) => type !== "row");
    expect(panels.length).toBeGreaterThan(15);
    for (const { title, targets = [] } of panels) expect(targets.length, title).toBeGreaterThan(0);
    expect(new Set(board.panels.map(({ id }) => id)).size).toBe(board.panels.length);
  });

  test.skipIf(!promtool)("asks what Prometheus understands", () => {
    const folder = mkdtempSync(join(tmpdir(), "countersign-board-"));
    try {
      const recorded = expressions.map((expr, index) => ({ record: `board:${index}`, expr: expr.replaceAll("$__rate_interval", "5m") }));
      writeFileSync(join(folder, "board.yaml"), JSON.stringify({ groups: [{ name: "board", rules: recorded }] }));
      const { status, stdout, stderr } = spawnSync("promtool", ["check", "rules", join(folder, "board.yaml")], { encoding: "utf8" });
      expect([status, stdout + stderr]).toEqual([0, expect.stringContaining("SUCCESS")]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

test("alerts and board know only metrics and labels that there are", async () => {
  const known = new Map((await caMetrics().registry.getMetricsAsArray()).map((metric) => [metric.name, (metric as unknown as { labelNames: string[] }).labelNames]));
  for (const [, name = "", labels = ""] of readFileSync(at("proxy/README.md"), "utf8").matchAll(/^\| `(\w+)` \| (?:counter|gauge|histogram) \| ([^|]*) \|/gm)) {
    known.set(name, [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label ?? ""));
  }
  const used = [...rules.map(({ expr }) => expr), ...expressions].flatMap((expr) => [...expr.matchAll(/\b((?:\w+_)+\w+)(?:\{([^}]*)\})?/g)])
    .filter(([, name = ""]) => !/^(histogram_quantile|group_left)$|^__/.test(name) && !labelLike.has(name));
  expect(used.length).toBeGreaterThan(40);
  for (const [, name = "", matchers = ""] of used) {
    const labels = known.get(name) ?? known.get(name.replace(/_(bucket|sum|count)$/, ""));
    expect(labels, name).toBeDefined();
    for (const [, label = ""] of matchers.matchAll(/(\w+)\s*[!=]/g)) expect(labels, name).toContain(label);
  }
});

test("the Prometheus operator is given the same rules (UPDATE_README=1 writes them)", () => {
  const path = at("infra/kubernetes/monitoring/prometheus-rule.yaml");
  const groups = readFileSync(rulesPath, "utf8").split("groups:\n")[1]!;
  const wanted = `# From infra/prometheus/countersign.rules.yaml, as the Prometheus operator takes them.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: countersign}
spec:
  groups:
${groups.replaceAll(/^(?=.)/gm, "  ")}`;
  if (process.env["UPDATE_README"] === "1") writeFileSync(path, wanted);
  expect(readFileSync(path, "utf8")).toBe(wanted);
});

test("the folder of rules holds rules alone", () => {
  expect(readdirSync(at("infra/prometheus"))).toEqual(["countersign.rules.yaml"]);
});

/** Labels by which expressions group. */
const labelLike = new Set(["trust_domain", "status_class"]);
