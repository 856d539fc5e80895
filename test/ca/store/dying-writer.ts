import { parentPort } from "node:worker_threads";

/**
 * The writer's thread, dying at a commit that names it: `die-before` is never written, `die-after` is committed and its answer
 * never sent.
 */
if (parentPort === null) throw new Error("this runs as the writer's thread");
const port = parentPort;
let dying = false;
const postMessage = port.postMessage.bind(port);
port.postMessage = (value: unknown) => {
  if (dying) process.exit(1);
  postMessage(value);
};
port.on("message", (request: { kind: string; acts?: { others: readonly { entries: readonly string[] }[] } }) => {
  const entries = (request.acts?.others ?? []).flatMap((act) => act.entries).join();
  if (entries.includes("die-before")) process.exit(1);
  dying = entries.includes("die-after");
});
await import("../../../ca/store/sqlite-writer.ts");
