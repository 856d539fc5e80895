import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ApiError } from "../../../ca/cli/api.ts";
import { check } from "../../../ca/cli/check.ts";
import { edges } from "../../../ca/cli/edges.ts";
import type { CliIo } from "../../../ca/cli/io.ts";
import { keepLooking, type Look } from "../../../ca/cli/watching.ts";
import { readConfig } from "../../../ca/config/config.ts";
import { serveCa, type ServedCa } from "../../../ca/runtime/node.ts";
import { freePort } from "../../../infra/demo/place.ts";
import { programs, startProcess } from "../../../infra/demo/processes.ts";

/** A terminal whose size can be changed, and what was written to it. */
function terminal(columns = 80, rows = 24) {
  const listeners = new Set<() => void>();
  const size = { columns, rows };
  let [stdout, stderr] = ["", ""];
  const io: CliIo = {
    stdout: (text) => void (stdout += text), stderr: (text) => void (stderr += text), env: { LANG: "en_US.UTF-8" },
    screen: { size: () => size, onResize: (listener) => (listeners.add(listener), () => void listeners.delete(listener)) },
  };
  return {
    io, plain: { ...io, screen: undefined }, listeners,
    stdout: () => stdout, stderr: () => stderr,
    /** What a look at the screen shows now. */
    shown: (): readonly string[] => (stdout.split("\u001b[H").at(-1) ?? "").replaceAll(/\u001b\[[KJ]/g, "").split("\n"),
    resize(next: { readonly columns: number; readonly rows: number }) {
      Object.assign(size, next);
      for (const listener of listeners) listener();
    },
  };
}

/** Runs one look after the other as fast as it goes; after the last it ends. */
async function watchAll(looks: readonly (Look | Error)[], io: CliIo, json = false) {
  const ending = new AbortController();
  const left = [...looks];
  const look = async (): Promise<Look> => {
    const next = left.shift();
    if (left.length === 0) ending.abort();
    if (next === undefined || next instanceof Error) throw next ?? new Error("no look is left");
    return next;
  };
  return keepLooking({ command: "edges", look, json, intervalMs: 1, ending: ending.signal }, io);
}

const lookOf = (value: unknown, text = `${JSON.stringify(value)}\n`): Look => ({ value, draw: () => text });
const away = new ApiError("no CA at https://east: nothing listens there");

describe("looking again and again", () => {
  test("without a terminal each change is printed once, under its time", async () => {
    const { plain, stdout } = terminal();
    await watchAll([lookOf(1), lookOf(1), lookOf(2), lookOf(2)], plain);
    expect(stdout().replaceAll(/-- \d{4}-[\d:.TZ-]+/g, "--")).toBe("--\n1\n--\n2\n");
  });

  test("with -o json each change is one line, also on a terminal", async () => {
    const { io, stdout } = terminal();
    await watchAll([lookOf({ a: [1] }), lookOf({ a: [1] }), lookOf({ a: [2] })], io, true);
    expect(stdout()).toBe('{"a":[1]}\n{"a":[2]}\n');
  });

  test("a terminal has a screen of its own meanwhile, and the last look on it afterwards", async () => {
    const { io, stdout, listeners } = terminal();
    await watchAll([lookOf("first"), lookOf("second")], io);
    const [before, during = "", after] = stdout().split(/\u001b\[\?1049[hl]/);
    expect([before, after]).toEqual(["", '"second"\n']);
    expect(during).toContain("countersign edges at ");
    expect(during).toContain("\u001b[?25h");
    expect(listeners.size).toBe(0);
  });

  test("of more lines than fit the first are drawn, with how many are left out, and none is wider than the screen", async () => {
    const { io, stdout } = terminal(20, 6);
    const coloured = `\u001b[32m√\u001b[0m ${"x".repeat(40)}\n`.repeat(9);
    await watchAll([lookOf(1, coloured)], io);
    const [, frame = ""] = stdout().split(/\u001b\[H\u001b\[2J|\u001b\[\?25h/).map((part) => part.replaceAll(/\u001b\[[\d;]*[mHKJ]/g, ""));
    const lines = frame.split("\n");
    expect([lines.length, lines.at(-1)]).toEqual([6, "… and 6 lines more"]);
    expect(lines.filter((line) => line.length > 20)).toEqual([]);
    expect(lines[2]).toBe(`√ ${"x".repeat(18)}`);
  });

  test("a resize draws anew at once", async () => {
    const { io, resize, shown } = terminal(80, 24);
    const ending = new AbortController();
    const look = async (): Promise<Look> => ({ value: 1, draw: ({ columns, rows }) => `${columns} by ${rows}\n` });
    const watching = keepLooking({ command: "edges", look, json: false, intervalMs: 3_600_000, ending: ending.signal }, io);
    await expect.poll(shown).toContain("80 by 22");
    resize({ columns: 40, rows: 12 });
    expect(shown()).toContain("40 by 10");
    ending.abort();
    await watching;
  });

  test("a CA that is away is said to be, over what was known before; when it is back, the line is gone", async () => {
    const { io, stdout } = terminal();
    await watchAll([lookOf("known"), away, away, lookOf("known")], io);
    const frames = stdout().split("\u001b[H").slice(2).map((frame) => frame.replaceAll(/\u001b\[[KJ]/g, ""));
    expect(frames.map((frame) => frame.includes("‼ no answer since"))).toEqual([false, true, true, false]);
    expect(frames.filter((frame) => !frame.includes("known"))).toEqual([]);
  });

  test("the same without a terminal is a line on standard error, once", async () => {
    const { plain, stdout, stderr } = terminal();
    await watchAll([lookOf(1), away, new ApiError("the database does not answer", { status: 503 }), lookOf(1)], plain, true);
    expect(stderr()).toBe("countersign edges: no answer since now: no CA at https://east: nothing listens\nthere\ncountersign edges: there is an answer again\n");
    expect(stdout()).toBe("1\n");
  });

  test("what will not pass ends it: no answer at the beginning, a token that is not taken later, a fault of ours", async () => {
    const { io, stdout } = terminal();
    await expect(watchAll([away, lookOf(1)], io)).rejects.toBe(away);
    const refused = new ApiError("the token is not known", { status: 401 });
    await expect(watchAll([lookOf(1), refused, lookOf(1)], io)).rejects.toBe(refused);
    await expect(watchAll([lookOf(1), new TypeError("a fault"), lookOf(1)], io)).rejects.toBeInstanceOf(TypeError);
    expect(stdout().match(/\u001b\[\?1049h/g)).toHaveLength(3);
    expect(stdout().match(/\u001b\[\?1049l/g)).toHaveLength(3);
  });
});

describe("with a CA that is started again", () => {
  const folder = mkdtempSync(join(tmpdir(), "countersign-watching-"));
  let served: ServedCa;
  let env: Record<string, string>;
  const start = (port: number): Promise<ServedCa> => serveCa(readConfig({ file: { trustDomain: "east", dataDir: join(folder, "ca"), listen: `127.0.0.1:${port}` } }), pino({ level: "silent" }));
  beforeAll(async () => {
    const port = await freePort();
    served = await start(port);
    env = { COUNTERSIGN_URL: served.url, COUNTERSIGN_DATA_DIR: join(folder, "ca"), LANG: "en_US.UTF-8" };
  });
  afterAll(async () => {
    await served.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Stops the CA, waits until that is seen, and starts it on the same port. */
  async function restart(isSeen: () => void): Promise<void> {
    const { port } = new URL(served.url);
    await served.stop();
    await vi.waitFor(isSeen, { timeout: 30_000, interval: 100 });
    served = await start(Number(port));
  }

  test("edges goes on and says so, check shows every line that fits", async () => {
    const [seen, checked] = [terminal(), terminal(80, 100)];
    let stop = (): void => undefined;
    const stopped = new Promise<void>((resolve) => (stop = resolve));
    const running = [
      edges(["--watch"], { ...seen.io, env }, () => stopped),
      check(["--watch"], { ...checked.io, env }, () => stopped),
    ];
    await vi.waitFor(() => expect([seen.stdout(), checked.stdout()]).toMatchObject([expect.stringContaining("SRC"), expect.stringMatching(/√ the CA can be reached[^]*All is well: √/)]), { timeout: 30_000, interval: 100 });
    await restart(() => expect(seen.shown().join("\n")).toContain("no answer since"));
    await vi.waitFor(() => expect(seen.shown().join("\n")).not.toContain("no answer since"), { timeout: 30_000, interval: 100 });
    stop();
    const [ofEdges, ofCheck] = await Promise.all(running);
    // As it was last: the CA may have been away then.
    expect([ofEdges, [0, 1].includes(ofCheck!)]).toEqual([0, true]);
  }, 120_000);

  test("Ctrl-C ends the command with 0, with whole lines behind it", async () => {
    const watching = startProcess(programs.ca, ["edges", "--watch", "-o", "json"], { ...env, PATH: process.env["PATH"] ?? "" });
    await vi.waitFor(() => expect(watching.output()).toContain("\n"), { timeout: 30_000, interval: 100 });
    watching.child.kill("SIGINT");
    const [code, signal] = (await once(watching.child, "exit")) as [number | null, string | null];
    expect([code, signal, JSON.parse(watching.output())]).toEqual([0, null, expect.objectContaining({ edges: [], proxies: 0 })]);
  }, 60_000);
});
