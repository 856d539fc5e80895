import { describe, expect, test } from "vitest";
import { parseDnsTemplate, parseIdTemplate, renderDnsName, renderId, TemplateError } from "../../../ca/attestation/name-template.ts";
import { factsOf } from "../../../ca/attestation/evidence.ts";

const facts = factsOf({ namespace: "shop", serviceAccount: "cart", repository: "acme/shop", groups: ["a", "b"] });
const idOf = (template: string, given = facts): string => renderId(parseIdTemplate(template, "east"), given).uri;

describe("the template of an ID", () => {
  test("is filled with facts, segment by segment", () => {
    expect(idOf("spiffe://{trustDomain}/ns/{namespace}/sa/{serviceAccount}")).toBe("spiffe://east/ns/shop/sa/cart");
    expect(idOf("spiffe://east/ci/{+repository}")).toBe("spiffe://east/ci/acme/shop");
    expect(idOf("spiffe://east/ns-{namespace}/x")).toBe("spiffe://east/ns-shop/x");
  });

  test.each([
    ["a slash", "shop/sa/admin"], ["a dot segment", ".."], ["one dot", "."], ["nothing", ""], ["an encoded slash", "shop%2fsa"], ["a space", "a b"],
    ["another trust domain", "spiffe://west/x"], ["a line feed", "shop\n"], ["a brace", "{serviceAccount}"], ["a letter that is not ASCII", "shöp"], ["a null", "a\0"],
  ])("takes no fact with %s into a segment", (_claim, namespace) => {
    expect(() => idOf("spiffe://east/ns/{namespace}/sa/{serviceAccount}", new Map([["namespace", [namespace]], ["serviceAccount", ["cart"]]]))).toThrow(TemplateError);
  });

  test.each(["../admin", "acme/../admin", "acme//shop", "/acme", "acme/", "acme/./shop", "a/".repeat(20) + "b"])("takes no several segments that are not plain: %s", (repository) => {
    expect(() => idOf("spiffe://east/ci/{+repository}", new Map([["repository", [repository]]]))).toThrow(TemplateError);
  });

  test("does not make an ID of a dot before a gap and a dot in it", () => {
    expect(() => idOf("spiffe://east/a/.{namespace}", new Map([["namespace", ["."]]]))).toThrow(TemplateError);
  });

  test("needs each fact, and one value of it", () => {
    expect(() => idOf("spiffe://east/{missing}")).toThrow(/does not have/);
    expect(() => idOf("spiffe://east/{groups}")).toThrow(/has 2/);
  });

  test("never says what a fact's value is", () => {
    expect(() => idOf("spiffe://east/{x}", new Map([["x", ["se/cret"]]]))).toThrow(expect.objectContaining({ message: expect.not.stringContaining("cret") as string }) as Error);
  });

  test.each([
    ["spiffe://west/ns/{namespace}", "another trust domain"],
    ["spiffe://{namespace}/x", "a trust domain from a fact"],
    ["spiffe://east{namespace}/x", "a trust domain that a fact goes on with"],
    ["{namespace}", "a fact alone"],
    ["spiffe://east/{namespace}-{serviceAccount}", "two gaps in a segment, of which different facts make one name"],
    ["spiffe://east/{namespace}{serviceAccount}", "two gaps side by side"],
    ["spiffe://east/{+repository}/x", "a gap for several segments that is not the end"],
    ["spiffe://east/x-{+repository}", "a gap for several segments within one"],
    ["spiffe://east/../{namespace}", "a dot segment"],
    ["spiffe://east/{namespace", "an open brace"],
    ["spiffe://east/{na me}", "a gap that is no name"],
    ["https://east/x", "no ID"],
  ])("is refused at the start: %s, %s", (template) => {
    expect(() => parseIdTemplate(template, "east")).toThrow(TemplateError);
  });

  test("is refused when it speaks of what its attestor never knows", () => {
    expect(() => parseIdTemplate("spiffe://east/{nodeName}", "east", ["namespace"])).toThrow(/there are namespace/);
  });
});

describe("the template of a DNS name", () => {
  const nameOf = (template: string, given = facts): string => renderDnsName(parseDnsTemplate(template, "east"), given);

  test("is filled label by label, Linkerd's form too", () => {
    expect(nameOf("{serviceAccount}.{namespace}.serviceaccount.identity.linkerd.cluster.local")).toBe("cart.shop.serviceaccount.identity.linkerd.cluster.local");
    expect(nameOf("{+host}", new Map([["host", ["db.shop.example"]]]))).toBe("db.shop.example");
  });

  test.each(["a.b", "*", "UPPER", "-a", "", "a/b", "a".repeat(64)])("takes no fact that is more than a label: %s", (namespace) => {
    expect(() => nameOf("{namespace}.svc", new Map([["namespace", [namespace]]]))).toThrow(TemplateError);
  });

  test.each(["*.{namespace}", "{namespace}.", "x.{+host}", "{+host}x.example", "{namespace}-{serviceAccount}.svc", "UP.{namespace}"])("is refused at the start: %s", (template) => {
    expect(() => parseDnsTemplate(template, "east")).toThrow(TemplateError);
  });
});
