import { describe, expect, test } from "vitest";
import { watcherPlaces, type Follower } from "../../../ca/feed/places.ts";

const web: Follower = { proven: true, name: "spiffe://east/web" };
const cart: Follower = { proven: true, name: "spiffe://east/cart" };
const from = (name: string): Follower => ({ proven: false, name });

/** Takes places and tells who lost one, by the name under which it was taken. */
function room(maxWatchers: number) {
  const places = watcherPlaces(maxWatchers);
  const lost: string[] = [];
  const take = (follower: Follower, count = 1) => {
    const leaves = Array.from({ length: count }, () => places.take(follower, () => lost.push(follower.name)));
    return { taken: leaves.filter((leave) => leave !== undefined).length, leave: () => leaves.forEach((leave) => leave?.()) };
  };
  return { take, lost };
}

describe("the places of the feed", () => {
  test("a stranger's address has a sixteenth, all strangers have a quarter, and the rest is kept for identities", () => {
    const { take, lost } = room(160);
    expect(take(from("10.0.0.1"), 100).taken).toBe(10);
    for (const address of ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]) take(from(address), 100);
    expect(take(web, 200).taken).toBe(160);
    expect(lost.filter((name) => name.startsWith("10."))).toHaveLength(40);
  });

  test("a stranger's place is given up when an identity needs it, of the address that has most; strangers take from nobody", () => {
    const { take, lost } = room(32);
    take(from("10.0.0.1"));
    take(from("10.0.0.2"), 2);
    expect(take(web, 29).taken).toBe(29);
    expect(lost).toEqual([]);
    expect(take(web).taken).toBe(1);
    expect(lost).toEqual(["10.0.0.2"]);
    expect(take(from("10.0.0.9")).taken).toBe(0);
    expect(take(cart, 2).taken).toBe(2);
    expect(lost).toHaveLength(3);
  });

  test("an identity that opens more streams than others loses them first, and cannot take them back", () => {
    const { take, lost } = room(8);
    expect(take(web, 9).taken).toBe(8);
    expect(take(cart, 8).taken).toBe(4);
    expect(lost).toEqual(Array(4).fill(web.name));
    expect(take(web).taken).toBe(0);
  });

  test("a place that is given back or lost counts no more, once", () => {
    const { take, lost } = room(4);
    const held = take(web, 4);
    held.leave();
    held.leave();
    expect(take(cart, 4).taken).toBe(4);
    expect(take(web, 2).taken).toBe(2);
    expect(lost).toEqual([cart.name, cart.name]);
    held.leave();
    expect(take(web).taken).toBe(0);
  });

  test("even the smallest feed has a place for a stranger and one for an identity", () => {
    const { take } = room(1);
    expect(take(from("10.0.0.1")).taken).toBe(1);
    expect(take(web).taken).toBe(1);
  });
});
