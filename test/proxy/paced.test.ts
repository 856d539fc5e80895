import { expect, test } from "vitest";
import { pacedByName } from "../../proxy/paced.ts";

test("a name has one line a second, and the next one says how many were held back", () => {
  let nowMs = 0;
  const lines: string[] = [];
  const paced = pacedByName(() => nowMs);
  const at = (ms: number, name: string): void => {
    nowMs = ms;
    paced(name, (heldBack) => void lines.push(`${ms} ${name} ${heldBack}`));
  };
  for (const ms of [0, 1, 999]) at(ms, "cart");
  at(999, "web");
  at(1000, "cart");
  at(2500, "cart");
  expect(lines).toEqual(["0 cart 0", "999 web 0", "1000 cart 2", "2500 cart 0"]);
});

test("a clock that is set back does not silence anybody", () => {
  let nowMs = 3_600_000;
  const lines: number[] = [];
  const paced = pacedByName(() => nowMs);
  for (const ms of [3_600_000, 5000]) {
    nowMs = ms;
    paced("cart", () => void lines.push(ms));
  }
  expect(lines).toEqual([3_600_000, 5000]);
});

test("who invents names without end takes no more memory than a thousand of them", () => {
  let lines = 0;
  const paced = pacedByName(() => 0);
  for (let name = 0; name < 1024; name++) paced(String(name), () => undefined);
  const say = (name: string): void => paced(name, () => void (lines += 1));
  say("0");
  expect(lines).toBe(0);
  for (let name = 1024; name < 2048; name++) say(String(name));
  say("0");
  expect(lines).toBe(1025);
});
