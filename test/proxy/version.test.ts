import { expect, test } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { version } from "../../proxy/version.ts";

test("the version that proxies report is that of the package", () => {
  expect(version).toBe(packageJson.version);
});
