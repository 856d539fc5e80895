import { parentPort, workerData } from "node:worker_threads";
import { layoutGraph, type GraphShape } from "./graph-layout.ts";

// A thread of its own: it answers once, and ends.
parentPort?.postMessage(layoutGraph(workerData as GraphShape));
