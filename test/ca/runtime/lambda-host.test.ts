import { pino } from "pino";
import { expect, test } from "vitest";
import { readConfig } from "../../../ca/config.ts";
import { lambdaHost } from "../../../ca/runtime/lambda-host.ts";
import { frontEnds } from "../../support/lambda-events.ts";

const silent = pino({ level: "silent" });
const postgres = "postgres://nobody@127.0.0.1:1/none";
const settings = (file: object) => readConfig({ file: { trustDomain: "east", ...file } });

test.each([
  ["its database on its disk", { sealing: "kms:alias/x" }, /store is refused/],
  ["its sealing key on its disk", { store: postgres }, /sealing is refused/],
])("a function does not start with %s", (_, file, message) => {
  expect(() => lambdaHost(settings(file), silent)).toThrow(message);
});

test("while the database is away requests are answered 503, maintenance fails, and each tries again", async () => {
  const host = lambdaHost(settings({ store: postgres, sealing: "kms:alias/x" }), silent);
  for (let times = 0; times < 2; times++) {
    const answer = await host.invoke(frontEnds["an ALB"]({ method: "GET", path: "/v1/bundle" }), Date.now() + 30_000);
    expect(answer).toMatchObject({ statusCode: 503, headers: { "content-type": "application/problem+json", "cache-control": "no-store" } });
    expect(JSON.parse((answer as { body: string }).body)).toMatchObject({ code: "store_unavailable" });
    await expect(host.invoke({ countersign: "maintenance" }, Date.now() + 30_000)).rejects.toMatchObject({ code: "store_unavailable" });
  }
  const alive = await host.invoke(frontEnds["an ALB"]({ method: "GET", path: "/healthz" }), Date.now() + 30_000);
  expect(alive).toMatchObject({ statusCode: 200, body: "ok\n" });
});
