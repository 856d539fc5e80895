import { expect, test } from "vitest";
import { parseAcme } from "../../../ca/config/acme.ts";

const read = (value: unknown) => {
  const faults: string[] = [];
  return { config: parseAcme(JSON.stringify(value), faults), faults };
};
const good = { names: ["*.shop.internal", "db.internal"], externalAccountsFile: "accounts.json" };

test("ACME has the ports of RFC 8555, and asks public addresses only, unless the operator says more", () => {
  expect(read(good)).toEqual({ faults: [], config: { ...good, resolver: undefined, reach: [], httpPort: 80, tlsPort: 443 } });
  expect(read({ ...good, externalAccountsFile: undefined, open: true, reach: ["10.0.0.0/8"], resolver: "10.0.0.53:53", httpPort: 8080 })).toMatchObject({ faults: [], config: { httpPort: 8080, externalAccountsFile: undefined } });
});

test.each<[string, unknown, RegExp]>([
  ["no object", [], /no JSON object/],
  ["no names", { ...good, names: [] }, /names is missing/],
  ["a name that is none", { ...good, names: ["*"] }, /names is refused/],
  ["an address for a name", { ...good, names: ["10.0.0.1"] }, /names is refused/],
  ["nobody who may have an account", { names: ["a.internal"] }, /externalAccountsFile/],
  ["both some and everybody", { ...good, open: true }, /Choose one/],
  ["a range with bits behind it", { ...good, reach: ["10.0.0.1/8"] }, /reach is refused/],
  ["a resolver by name", { ...good, resolver: "dns.example" }, /resolver is refused/],
  ["a port that is none", { ...good, httpPort: 0 }, /no port/],
  ["a slip of the pen", { ...good, reech: [] }, /did you mean reach/],
])("%s is refused", (_claim, value, why) => {
  expect(read(value).faults.join("; ")).toMatch(why);
});

test("what is no JSON is refused", () => {
  const faults: string[] = [];
  expect(parseAcme("{", faults)).toBeUndefined();
  expect(faults).toEqual([expect.stringContaining("it is no JSON object")]);
});
