import { describe, expect, test } from "vitest";
import type { Policy, PolicyRule } from "../../../ca/contract/policies.ts";
import { parseSpiffeId, parseSpiffeIdPattern } from "../../../ca/pki/spiffe-id.ts";
import type { ProxyConfig } from "../../../proxy/config/config.ts";
import { identityHolder } from "../../../proxy/identity/source.ts";
import { inboundAdmission } from "../../../proxy/inbound/admission.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import type { Refusal } from "../../../proxy/refusals.ts";
import { eastIdentity, metricValue, policyFor } from "../../support/data-path.ts";
import { recordedLog } from "../../support/recorded-log.ts";

const world = eastIdentity("world");
const [cart, web, stranger] = ["spiffe://east/cart", "spiffe://east/web", "spiffe://west/cart"].map(parseSpiffeId);
const policy = (...rules: readonly PolicyRule[]): Policy => ({ name: "shop", workloads: ["spiffe://east/world"], rules });
const allowCart: PolicyRule = { name: "cart", action: "allow", from: [cart!.uri] };

function setUp({ policies = [], ...settings }: { readonly policies?: readonly Policy[] | undefined } & Partial<Pick<ProxyConfig, "allow" | "inboundMode">> = {}) {
  const source = identityHolder(Date.now);
  const metrics = createMetrics();
  const log = recordedLog();
  const refusals: Refusal[] = [];
  const set = (...next: readonly Policy[]): void => source.setPolicy(policyFor(world, next));
  set(...policies);
  const config = { allow: undefined, inboundMode: "strict", ...settings } as ProxyConfig;
  const admit = inboundAdmission({ config, source, metrics, log, refuse: (refusal) => void refusals.push(refusal), now: () => 0 });
  return { source, metrics, log, refusals, set, admit: (client = cart, port = 8080) => admit(client, "spiffe://east/world", port), admitNobody: () => admit(undefined, "spiffe://east/world", 8080) };
}

describe("at connect", () => {
  test("nobody is let in before the policy is known", () => {
    const refusals: Refusal[] = [];
    const config = { allow: undefined, inboundMode: "audit" } as ProxyConfig;
    const admit = inboundAdmission({
      config, source: identityHolder(Date.now), metrics: createMetrics(), log: recordedLog(), refuse: (refusal) => void refusals.push(refusal), now: () => 0,
    });
    expect(admit(cart, "spiffe://east/world", 8080)).toBeUndefined();
    expect(refusals).toMatchObject([{ reason: "policy_unavailable", peer: "spiffe://east/cart" }]);
  });

  test("where nothing selects the workload its own trust domain is let in, and no other", () => {
    const { admit, refusals } = setUp();
    expect(admit(cart)?.opaque()).toBe(true);
    expect(admit(stranger)).toBeUndefined();
    expect(refusals).toMatchObject([{ reason: "not_allowed", peer: "spiffe://west/cart" }]);
  });

  test("who is denied whatever it sends is refused, counted by rule, and told why", () => {
    const { admit, refusals, metrics } = setUp({ policies: [policy(allowCart, { name: "no-web", action: "deny", from: [web!.uri] })] });
    expect(admit(cart)?.opaque()).toBe(true);
    expect(admit(web)).toBeUndefined();
    expect(refusals[0]?.message).toContain("rule shop/no-web does not let spiffe://east/web do this");
    expect(metricValue(metrics, "inbound_policy_denied_total", 'rule="shop/no-web"', 'client_id="spiffe://east/web"')).toBe(1);
  });

  test("deny wins over allow, and a rule about ports is about the app's", () => {
    const { admit } = setUp({ policies: [policy(allowCart, { name: "no-db", action: "deny", from: ["*"], ports: [5432] })] });
    expect(admit(cart, 8080)).toBeDefined();
    expect(admit(cart, 5432)).toBeUndefined();
  });

  test("the list of this host keeps out whom policy lets in, and opens it to a foreign domain where policy is silent", () => {
    const allow = [stranger!.uri].map(parseSpiffeIdPattern);
    expect(setUp({ allow }).admit(stranger)?.opaque()).toBe(true);
    expect(setUp({ allow }).admit(cart)).toBeUndefined();
    expect(setUp({ allow, policies: [policy(allowCart)] }).admit(cart)).toBeUndefined();
    expect(setUp({ allow, policies: [policy(allowCart)] }).admit(stranger)).toBeUndefined();
    expect(setUp({ allow: [] }).admit(cart)).toBeUndefined();
  });
});

describe("what a connection turns out to be", () => {
  const readOnly = policy({ name: "read", action: "allow", from: [cart!.uri], methods: ["GET"], paths: ["/items/*"] });

  test("a request that no rule allows is denied, and a connection that is no HTTP with it", () => {
    const admission = setUp({ policies: [readOnly] }).admit()!;
    expect(admission.request("GET", "/items/1?x=1")).toBeUndefined();
    expect(admission.request("POST", "/items/1")?.message).toContain("none of their rules allows this");
    expect(admission.request("GET", "/items/../admin")).toBeDefined();
    expect(admission.opaque()).toBe(false);
  });

  test("each question is answered by the policy of that moment, and what goes on is judged by what was asked last", () => {
    const { admit, set } = setUp({ policies: [readOnly] });
    const admission = admit()!;
    expect(admission.isAllowed()).toBe(true);
    admission.request("GET", "/items/1");
    expect(admission.isAllowed()).toBe(true);
    set(policy({ name: "read", action: "allow", from: [cart!.uri], methods: ["GET"], paths: ["/other"] }));
    expect(admission.isAllowed()).toBe(false);
    expect(admission.request("GET", "/items/1")).toBeDefined();
    expect(admission.request("GET", "/other")).toBeUndefined();
    expect(admission.isAllowed()).toBe(true);
    set(policy({ name: "web", action: "allow", from: [web!.uri] }));
    expect(admission.isAllowed()).toBe(false);
  });
});

describe("modes", () => {
  test("audit lets through what would be denied, counts it, and logs it once a second for each pair", () => {
    const { admit, metrics, log, refusals } = setUp({ inboundMode: "audit", policies: [policy(allowCart)] });
    const admission = admit(web)!;
    for (let count = 0; count < 3; count++) expect(admission.request("GET", "/")).toBeUndefined();
    expect(admission.isAllowed()).toBe(true);
    expect(metricValue(metrics, "inbound_policy_would_deny_total", 'rule="no_rule_allows"', 'client_id="spiffe://east/web"')).toBe(3);
    expect(log.lines.filter(({ message }) => message.startsWith("let through, as the mode is audit: spiffe://east/web GET / would be refused"))).toHaveLength(1);
    expect(refusals).toEqual([]);
  });

  test("an audit rule tells of what fits it and decides nothing", () => {
    const { admit, metrics, log } = setUp({ policies: [policy({ name: "look", action: "audit", from: ["*"] })] });
    expect(admit(cart)?.request("GET", "/secret?token=1")).toBeUndefined();
    expect(metricValue(metrics, "inbound_policy_audited_total", 'rule="shop/look"', 'protocol="http"')).toBe(1);
    expect(log.text()).toContain("fits the audit rule shop/look");
    expect(log.text()).not.toContain("token");
  });

  test("only permissive lets somebody in who proved no identity, and not where a rule denies everybody", () => {
    expect(setUp().admitNobody()).toBeUndefined();
    expect(setUp({ inboundMode: "permissive" }).admitNobody()?.opaque()).toBe(true);
    expect(setUp({ inboundMode: "permissive", policies: [policy({ action: "deny", from: ["*"] })] }).admitNobody()).toBeUndefined();
    expect(setUp({ inboundMode: "permissive", policies: [policy(allowCart)] }).admit(web)).toBeUndefined();
  });
});
