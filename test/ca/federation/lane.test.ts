import { expect, test } from "vitest";
import { lane } from "../../../ca/federation/lane.ts";

/** Acts that end when the test says so. */
function heldActs() {
  const ends = new Map<string, () => void>();
  const begun: string[] = [];
  return {
    begun, ends,
    act: (name: string) => new Promise<void>((resolve) => {
      begun.push(name);
      ends.set(name, resolve);
    }),
  };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

test("acts on so many at once and no more, and on the next when one is over", async () => {
  const { begun, ends, act } = heldActs();
  const { add } = lane(2, act);
  for (const name of ["a", "b", "c", "d"]) add(name);
  expect(begun).toEqual(["a", "b"]);
  ends.get("b")!();
  await turn();
  expect(begun).toEqual(["a", "b", "c"]);
});

test("takes nobody twice who waits or is under way, and somebody again who was", async () => {
  const { begun, ends, act } = heldActs();
  const { add } = lane(1, act);
  for (const name of ["a", "a", "b", "b"]) add(name);
  ends.get("a")!();
  await turn();
  add("a");
  ends.get("b")!();
  await turn();
  expect(begun).toEqual(["a", "b", "a"]);
});

test("is idle when what waited is over too", async () => {
  const { ends, act } = heldActs();
  const { add, idle } = lane(1, act);
  let over = false;
  add("a");
  add("b");
  const waited = idle().then(() => (over = true));
  ends.get("a")!();
  await turn();
  expect(over).toBe(false);
  ends.get("b")!();
  await waited;
});
