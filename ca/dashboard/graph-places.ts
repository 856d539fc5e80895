import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import type { GraphPlaces, GraphShape } from "./graph-layout.ts";

/**
 * Makes what finds places for a graph in a thread of its own, which is ended when it takes too long: what is drawn is what workloads say.
 * The last pictures are remembered, and one is made at a time.
 * @returns undefined where there was no time for it, or no room
 */
export function graphPlaces({ timeoutMs = defaultTimeoutMs, entry = threadEntry() }: { readonly timeoutMs?: number; readonly entry?: URL | "here" } = {}) {
  const made = new Map<string, Promise<GraphPlaces | undefined>>();
  let last: Promise<unknown> = Promise.resolve();
  return (shape: GraphShape): Promise<GraphPlaces | undefined> => {
    const key = JSON.stringify(shape);
    const found = made.get(key) ?? last.then(() => (entry === "here" ? layoutHere(shape) : layoutApart(entry, shape, timeoutMs)));
    made.delete(key);
    made.set(key, found);
    // One that failed is tried again by whoever looks next.
    last = found.then((places) => places ?? made.delete(key), () => made.delete(key));
    for (const oldest of made.keys()) if (made.size > maxMade) made.delete(oldest);
    return found;
  };
}

function layoutApart(entry: URL, shape: GraphShape, timeoutMs: number): Promise<GraphPlaces | undefined> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(entry, { workerData: shape, execArgv: [], name: "graph", resourceLimits: { maxOldGenerationSizeMb } });
    const timer = setTimeout(() => void worker.terminate(), timeoutMs);
    worker.once("message", resolve).once("error", (error: NodeJS.ErrnoException) => (error.code === "ERR_WORKER_OUT_OF_MEMORY" ? resolve(undefined) : reject(error))).once("exit", () => {
      clearTimeout(timer);
      resolve(undefined);
    });
  });
}

/** A function on demand serves one request at a time: there nobody else waits, and there is one file. */
async function layoutHere(shape: GraphShape): Promise<GraphPlaces> {
  return (await import("./graph-layout.ts")).layoutGraph(shape);
}

/** TypeScript as it is in the repository, or the bundle's file beside the one this runs from. */
function threadEntry(): URL | "here" {
  return ["./graph-thread.ts", "./graph-thread.js"].map((name) => new URL(name, import.meta.url)).find((url) => existsSync(url)) ?? "here";
}

/** Some tenths of a second are usual. */
const defaultTimeoutMs = 5_000;
const maxOldGenerationSizeMb = 64;
const maxMade = 16;
