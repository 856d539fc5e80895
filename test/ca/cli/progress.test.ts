import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { dispatch } from "../../../ca/cli/dispatch.ts";
import { whileWaiting, withProgress } from "../../../ca/cli/progress.ts";
import { startTestCa } from "../../support/running-ca.ts";

/** Standard error as it is written, and what a terminal shows of it in the end. */
function listener(isTerminal: boolean) {
  let said = "";
  const io = { stderr: (text: string) => void (said += text), isTerminal };
  return { io, said: () => said, left: () => said.split("\n").map((line) => line.split("\r\u001b[K").at(-1)).join("\n") };
}

/** One row after the other, so many milliseconds apart. */
async function count(io: Parameters<typeof withProgress>[0], rows: number, apartMs: number): Promise<string> {
  let nowMs = 0;
  return withProgress(io, async (report) => {
    for (let done = 1; done <= rows; done++) {
      nowMs += apartMs;
      report({ stage: "certificates", done, total: rows });
    }
    return "done";
  }, () => nowMs);
}

describe("what takes long", () => {
  test("says nothing where it is over within two seconds", async () => {
    for (const { io, said } of [listener(true), listener(false)]) {
      expect(await count(io, 10, 199)).toBe("done");
      expect(said()).toBe("");
    }
  });

  test("says on a terminal how far it is in one line that is gone at the end", async () => {
    const { io, said, left } = listener(true);
    await count(io, 4, 1000);
    expect(said()).toBe("\r\u001b[Kcertificates: 2 of 4, 50 %\r\u001b[Kcertificates: 3 of 4, 75 %\r\u001b[Kcertificates: 4 of 4, 100 %\r\u001b[K");
    expect(left()).toBe("");
  });

  test("and elsewhere in a line every ten seconds", async () => {
    const { io, said } = listener(false);
    await count(io, 30, 1000);
    expect(said()).toBe("certificates: 2 of 30, 6 %\ncertificates: 12 of 30, 40 %\ncertificates: 22 of 30, 73 %\n");
  });

  test("leaves nothing of it before an error either", async () => {
    const { io, left } = listener(true);
    let nowMs = 0;
    const failing = withProgress(io, async (report) => {
      nowMs = 5000;
      report({ stage: "verify", done: 1, total: 0 });
      throw new Error("no room");
    }, () => nowMs);
    await expect(failing).rejects.toThrow("no room");
    expect(left()).toBe("");
  });
});

test("an answer that is long in coming is said to be waited for, on a terminal and until it comes", async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const [terminal, other] = [listener(true), listener(false)];
  for (const { io } of [terminal, other]) {
    const { promise, resolve } = Promise.withResolvers<string>();
    const answer = whileWaiting(io, "the CA at https://east", promise, 2000);
    await vi.advanceTimersByTimeAsync(2000);
    resolve("here");
    expect(await answer).toBe("here");
  }
  expect([terminal.said(), other.said()]).toEqual(["\r\u001b[Kwaiting for the CA at https://east ...\r\u001b[K", ""]);
  expect(await whileWaiting(terminal.io, "nobody", Promise.resolve("at once"))).toBe("at once");
  expect(terminal.said()).not.toContain("nobody");
});

describe("every command that goes through all of a store", () => {
  const folder = mkdtempSync(join(tmpdir(), "countersign-progress-"));
  const dataDir = join(folder, "ca");
  beforeAll(async () => {
    mkdirSync(dataDir, { mode: 0o700 });
    await (await startTestCa({ dataDir })).close();
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  afterEach(() => void vi.restoreAllMocks());

  const backup = join(folder, "ca.backup");
  test.for<[string, readonly string[]]>([
    ["audit verify", ["audit", "verify", "--data-dir", dataDir]],
    ["backup", ["backup", "--data-dir", dataDir, "--out", backup]],
    ["restore", ["restore", "--data-dir", join(folder, "restored"), "--from", backup]],
    ["store migrate", ["store", "migrate", "--from", `sqlite:${join(dataDir, "countersign.db")}`, "--to", `sqlite:${join(folder, "moved.db")}`]],
  ])("%s says how far it is, and leaves no trace of that", async ([, args]) => {
    const { io, said, left } = listener(true);
    let [stdout, nowMs] = ["", 0];
    // Each look at the clock is three seconds after the one before.
    vi.spyOn(performance, "now").mockImplementation(() => (nowMs += 3000));
    const exitCode = await dispatch(args, { ...io, stdout: (text) => void (stdout += text), env: { COUNTERSIGN_BACKUP_PASSPHRASE: "correct horse battery" } });
    expect([exitCode, left()]).toEqual([0, ""]);
    expect(said()).toMatch(/\r\u001b\[K[a-z_ ]+: \d+ of \d+, \d+ %\r/);
    expect(stdout).not.toContain("%");
  });
});
