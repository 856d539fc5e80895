import { setTimeout as delay } from "node:timers/promises";
import type { Asked } from "./errands.ts";
import type { Cluster } from "./cluster.ts";

/** Names by which apps of other clusters call west's world: by way of its gateway, and straight to its proxy. */
export const worldName = "world.default.west";
export const directName = "world.direct.west";

/** What the app `hello` of a cluster answers: that of world, if it gets there. */
export async function askApp({ runner, place, appPort }: Cluster): Promise<string> {
  return (await runner.run("get", { url: `http://${place.loopback}:${appPort}/` })).body.trim();
}

/** Whom world takes the app of a cluster for. */
export async function whoami({ runner, outbound }: Cluster, name: string): Promise<string> {
  return (await runner.run("get", { url: `http://${outbound}/whoami`, headers: { host: name } })).body.trim();
}

/** What the proxy of a cluster's app answers for a name. */
export async function statusThrough({ runner, outbound }: Cluster, name: string): Promise<number> {
  return (await runner.run("get", { url: `http://${outbound}/`, headers: { host: name } })).status;
}

/** Has the app's proxy asked for world, by both ways and on new connections too, while something happens. @returns how that went */
export async function whileAsking({ runner, outbound }: Cluster, happen: () => Promise<void>): Promise<Asked> {
  await runner.run("startAsking", { proxy: outbound, names: [worldName, directName] });
  try {
    await happen();
  } catch (error) {
    await runner.run("stopAsking", {});
    throw error;
  }
  return runner.run("stopAsking", {});
}

/** For a step: what failed of what was asked. */
export function failuresOf({ asked, failures }: Asked): string {
  if (asked < fewestAsked) return `only ${asked} were asked`;
  return failures.length === 0 ? "none failed" : `failed with ${failures.join("; ")}`;
}

/** Waits for what takes its time, within a bound. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + deadlineMs; !(await holds()); await delay(pollMs)) {
    if (Date.now() > deadline) throw new Error(`waited ${deadlineMs / 1000} s in vain for ${what}`);
  }
}

const deadlineMs = 30_000;
const pollMs = 100;
/** Fewer would show nothing. */
const fewestAsked = 20;
