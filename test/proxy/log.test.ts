import { expect, test } from "vitest";
import { jsonLog } from "../../proxy/log.ts";

test("a line is one JSON object with time, level and message first", () => {
  const lines: string[] = [];
  const log = jsonLog({ level: "info", now: () => 0, write: (line) => void lines.push(line) });
  log.info({ spiffeId: "spiffe://east/a", sequence: 2n ** 64n }, "line\nbreak");
  log.debug({}, "not this one");
  log.error({ error: new Error("broken", { cause: "secret" }) }, "failed");
  expect(lines).toEqual([
    '{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"line\\nbreak","spiffeId":"spiffe://east/a","sequence":"18446744073709551616"}\n',
    '{"time":"1970-01-01T00:00:00.000Z","level":"error","message":"failed","error":"broken"}\n',
  ]);
});

test("silent writes nothing", () => {
  const log = jsonLog({ level: "silent", now: () => 0, write: () => expect.unreachable() });
  log.error({}, "x");
});
