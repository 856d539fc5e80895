import { connect, createServer, type AddressInfo, type NetConnectOpts } from "node:net";

/** What went by since `clear`; times by `performance.now()`. */
export interface Passed {
  readonly connections: number;
  /** Times that its client waited for an answer before it said more. */
  readonly roundTrips: number;
  readonly firstAtMs: number;
  readonly lastAnswerAtMs: number;
  /** When its client first sent the marker. */
  readonly markedAtMs: number;
}

export interface Relay {
  readonly port: number;
  passed(): Passed;
  clear(): void;
  close(): void;
}

/** Stands before a server and looks at the clock, so that whoever is measured is not touched. @param at  a path, or a port (0: any) */
export async function relay(at: string | number, target: NetConnectOpts, marker: string): Promise<Relay> {
  const nothing: Passed = { connections: 0, roundTrips: 0, firstAtMs: NaN, lastAnswerAtMs: NaN, markedAtMs: NaN };
  let passed = nothing;
  const server = createServer((client) => {
    const behind = connect(target);
    const now = performance.now();
    passed = { ...passed, connections: passed.connections + 1, firstAtMs: passed.connections === 0 ? now : passed.firstAtMs };
    let answered = true;
    client.on("data", (chunk: Buffer) => {
      if (answered) passed = { ...passed, roundTrips: passed.roundTrips + 1 };
      answered = false;
      if (Number.isNaN(passed.markedAtMs) && chunk.includes(marker)) passed = { ...passed, markedAtMs: performance.now() };
      behind.write(chunk);
    });
    behind.on("data", (chunk: Buffer) => {
      answered = true;
      passed = { ...passed, lastAnswerAtMs: performance.now() };
      client.write(chunk);
    });
    for (const [one, other] of [[client, behind], [behind, client]] as const) one.on("error", () => other.destroy()).on("close", () => other.destroy());
  });
  await new Promise<void>((resolve) => server.listen(at, resolve));
  return {
    port: typeof at === "string" ? 0 : (server.address() as AddressInfo).port,
    passed: () => passed,
    clear: () => void (passed = nothing),
    close: () => void server.close(),
  };
}
