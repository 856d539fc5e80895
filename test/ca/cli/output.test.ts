import { expect, test } from "vitest";
import { ApiError } from "../../../ca/cli/api.ts";
import { renderFindings } from "../../../ca/cli/check-report.ts";
import type { CliIo } from "../../../ca/cli/io.ts";
import { output } from "../../../ca/cli/output.ts";
import { table } from "../../../ca/cli/table.ts";
import { keepLooking } from "../../../ca/cli/watching.ts";

/** What a stranger put into a name or an answer: a title, a colour, a cursor that goes home, and text that reads backwards. */
const hostile = "hub\u001b]0;owned\u0007\u009b31m\u001b[H\u202egnp";
const spelled = "hub\\u{1b}]0;owned\\u{7}\\u{9b}31m\\u{1b}[H\\u{202e}gnp";
let said = "";
const io: CliIo = { stdout: (text) => void (said += text), stderr: (text) => void (said += text), env: {} };
const terminal: CliIo = { ...io, screen: { size: () => ({ columns: 80, rows: 24 }), onResize: () => () => undefined } };

test("what others said moves no cursor of a terminal: it is spelled out", () => {
  said = "";
  output(undefined, terminal).print({}, `one\n${hostile}\n`);
  output(undefined, terminal).explain(`${hostile}\n`);
  expect(said).toBe(`one\n${spelled}\n${spelled}\n`);
  expect(table(["NAME", "AT"], [[hostile, hostile]])).toContain(`${spelled}\n  ${spelled}\n`);
  const findings = [{ check: "api-reachable", category: "api", status: "failed", name: hostile, hint: hostile }] as unknown as Parameters<typeof renderFindings>[0]["findings"];
  expect(renderFindings({ findings, page: "https://ca/docs" }, "table", io).split(spelled)).toHaveLength(3);
});

test("and stays as it is for a program that reads it", () => {
  said = "";
  output(undefined, io).print({}, hostile);
  expect(said).toBe(hostile);
});

test("-o json means the same and has it spelled out, as one document or line by line", async () => {
  const value = { name: `${hostile}\u{e0041}\u2028\ue000`, quoted: '"\\' };
  said = "";
  for (const each of [io, terminal]) output("json", each).print(value, "");
  const ending = new AbortController();
  const look = async () => {
    ending.abort();
    return { value, draw: () => "" };
  };
  await keepLooking({ command: "edges", look, json: true, intervalMs: 1, ending: ending.signal }, terminal);
  expect(said.replaceAll("\n", "")).toMatch(/^[\x20-\x7e]*$/);
  const [first, second, third] = [...said.matchAll(/^\{[^]*?^\}$|^\{.*\}$/gm)].map(([document]) => JSON.parse(document) as unknown);
  expect([first, second, third]).toEqual([value, value, value]);
});

test("nor does what a CA answers while it is watched", async () => {
  for (const each of [io, terminal]) {
    said = "";
    const ending = new AbortController();
    let looks = 0;
    const look = async () => {
      if (looks++ === 0) return { value: 1, draw: () => "known\n" };
      setTimeout(() => ending.abort());
      throw new ApiError(hostile);
    };
    await keepLooking({ command: "edges", look, json: false, intervalMs: 1, ending: ending.signal }, each);
    expect(said).toContain(spelled.slice(0, 20));
    expect(said).not.toMatch(/owned\u0007/);
  }
});
