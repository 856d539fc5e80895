import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";
import { bundle } from "../../infra/bundle.ts";
import { startPostgres, type PostgresServer } from "./postgres-server.ts";

/** One Postgres for the whole run, started when a test first wants it; and the bundles that ship, which the end-to-end tests run. */
export async function setup(project: TestProject): Promise<void> {
  // Thousands of threads and processes run the same code: what Node.js compiles of it once is good for all.
  process.env["NODE_COMPILE_CACHE"] ??= join(directory, "compiled");
  for (const name of ["ca", "proxy"] as const) await bundle(name, fileURLToPath(new URL("../../dist", import.meta.url)));
  process.env["COUNTERSIGN_PROGRAMS"] = "bundles";
  const socket = join(directory, "postgres.sock");
  await new Promise<void>((resolve) => broker.listen(socket, resolve));
  project.provide("postgres", socket);
}

export async function teardown(): Promise<void> {
  broker.close();
  await postgres?.then((server) => server.stop(), () => undefined);
  rmSync(directory, { recursive: true, force: true });
}

let postgres: Promise<PostgresServer> | undefined;
const directory = mkdtempSync(join(tmpdir(), "countersign-test-"));
const broker = createServer((connection) => {
  connection.on("error", () => undefined);
  postgres ??= startPostgres();
  postgres.then((server) => server.createDatabase()).then((url) => connection.end(url), (error) => connection.end(String(error)));
});
