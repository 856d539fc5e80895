import { expect, test } from "vitest";
import { graphPlaces } from "../../../ca/dashboard/graph-places.ts";

const shape = { boxes: 2, links: [{ from: 0, to: 1 }] };
/** As a thread that finds no end. */
const endless = new URL("data:text/javascript,for(;;);");
const greedy = new URL("data:text/javascript,const held=[];for(;;)held.push(new Array(1e5).fill({}).map(()=>({})));");

test("a picture is made in another thread, and once for all who look", async () => {
  const placesOf = graphPlaces();
  const [first, second] = await Promise.all([placesOf(shape), placesOf({ ...shape })]);
  expect(first?.boxes).toHaveLength(2);
  expect(second).toBe(first);
});

test("one that takes too long is not waited for, and the next one is made", async () => {
  const placesOf = graphPlaces({ entry: endless, timeoutMs: 200 });
  expect(await placesOf(shape)).toBeUndefined();
  expect(await placesOf(shape)).toBeUndefined();
});

test("one that needs too much room is given up", async () => {
  expect(await graphPlaces({ entry: greedy })(shape)).toBeUndefined();
});

test("where there is no thread to begin it is made here", async () => {
  expect((await graphPlaces({ entry: "here" })(shape))?.boxes).toHaveLength(2);
});
