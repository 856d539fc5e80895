import { describe, expect, test } from "vitest";
import { authorizeNames } from "../../../ca/issuance/names.ts";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";

const rules = { trustDomain: "east", reservedDnsNames: new Set(["ca.east"]) };
const check = (id: string, dnsNames: readonly string[] = []): void => authorizeNames(rules, parseSpiffeId(id), dnsNames);

describe("names of workloads", () => {
  test.each(["spiffe://east/a", "spiffe://east/countersigned/x", "spiffe://east/ns/countersign/ca"])("%s may be issued", (id) => {
    expect(() => check(id, ["web", "web.shop.svc.cluster.local", "xn--bcher-kva.example", "a1.b2"])).not.toThrow();
  });

  test.each([
    ["of another trust domain", "spiffe://west/a"],
    ["of a trust domain that merely begins like ours", "spiffe://east.evil/a"],
    ["of the trust domain itself", "spiffe://east"],
    ["of the CA", "spiffe://east/countersign"],
    ["below the CA's", "spiffe://east/countersign/ca"],
  ])("an ID %s may not", (_claim, id) => {
    expect(() => check(id)).toThrow(expect.objectContaining({ code: "spiffe_id_refused" }));
  });

  test.each([
    ["the CA's own", ["ca.east"]], ["a wildcard", ["*.shop"]], ["upper case", ["Web"]], ["a final dot", ["web."]], ["empty", [""]],
    ["an underscore", ["a_b"]], ["a label of 64", [`${"a".repeat(64)}.b`]], ["longer than 253", [`${"a.".repeat(127)}b`.slice(0, 254)]],
    ["an IPv4 address", ["10.0.0.1"]], ["a dash at the end of a label", ["a-.b"]], ["a null octet", ["a\0b"]], ["twice the same", ["web", "web"]],
    ["more than 16", Array.from({ length: 17 }, (_, index) => `web${index}`)],
  ])("a DNS name may not be %s", (_claim, names) => {
    expect(() => check("spiffe://east/a", names)).toThrow(expect.objectContaining({ code: "dns_name_refused" }));
  });
});
