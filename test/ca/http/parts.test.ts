import { afterAll, beforeAll, expect, test } from "vitest";
import { access } from "../../../ca/http/authenticate.ts";
import { apiParts } from "../../../ca/http/parts.ts";
import { startTestCa, type TestCa } from "../../support/running-ca.ts";

let running: TestCa;
beforeAll(async () => void (running = await startTestCa()));
afterAll(() => running.close());

test("every route is answered by the first part that has it", async () => {
  const parts = apiParts(running.ca, running.ca.metrics.registry);
  for (const route of Object.keys(access) as (keyof typeof access)[]) {
    const operations = await parts.find(({ routes }) => routes.includes(route))?.operations();
    expect(operations?.map((operation) => operation.route), route).toContain(route);
  }
});

test("a part that could not be loaded once is loaded by the next request", async () => {
  let descriptors = 0;
  const services = { ...running.ca, get federation() {
    if (descriptors++ === 0) throw new Error("EMFILE");
    return running.ca.federation;
  } };
  const hubs = apiParts(services, running.ca.metrics.registry).find(({ routes }) => routes.includes("GET /v1/hubs"))!;
  await expect(hubs.operations()).rejects.toThrow("EMFILE");
  expect(await hubs.operations()).toBe(await hubs.operations());
});
