import { expect, test } from "vitest";
import { readConfig } from "../../../ca/config/config.ts";

const cluster = { type: "kubernetes", issuer: "https://oidc.example", audience: "identity.l5d.io", dnsNames: ["{serviceAccount}.{namespace}.serviceaccount.identity.linkerd.cluster.local"] };
const read = (settings: object) => readConfig({ file: { trustDomain: "east", attestors: { cluster }, apiNames: ["linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local"], ...settings } as unknown as Record<string, string> }).linkerd;

test("Linkerd's protocol is spoken where it is said, by the attestor that is named", () => {
  expect(read({})).toBeUndefined();
  expect(read({ linkerdListen: "0.0.0.0:8080", linkerdAttestor: "cluster" })).toEqual({ listen: { host: "0.0.0.0", port: 8080 }, attestor: "cluster" });
});

test.each<[string, object, RegExp]>([
  ["without an attestor", { linkerdListen: "0.0.0.0:8080" }, /linkerdAttestor is refused/],
  ["by an attestor that there is not", { linkerdListen: "0.0.0.0:8080", linkerdAttestor: "other" }, /linkerdAttestor is refused/],
  ["by an attestor of another type", { linkerdListen: "0.0.0.0:8080", linkerdAttestor: "pki", attestors: { pki: { type: "x509", anchorsFile: "a.pem", spiffeId: "spiffe://east/{commonName}" } } }, /of the type kubernetes/],
  ["by an attestor that gives no names", { linkerdListen: "0.0.0.0:8080", linkerdAttestor: "cluster", attestors: { cluster: { ...cluster, dnsNames: [] } } }, /gives no DNS names/],
  ["LC-03: under no name that its proxies look for", { linkerdListen: "0.0.0.0:8080", linkerdAttestor: "cluster", apiNames: ["linkerd-identity.linkerd.serviceaccount.identity.linkerd.other.local"] },
    /ends with \.serviceaccount\.identity\.linkerd\.cluster\.local.*add its name to apiNames, which is linkerd-identity\.linkerd\.serviceaccount\.identity\.linkerd\.cluster\.local unless/],
  ["nowhere", { linkerdAttestor: "cluster" }, /says nothing without linkerdListen/],
  ["at no address", { linkerdListen: "8080", linkerdAttestor: "cluster" }, /linkerdListen is refused/],
])("%s it is refused", (_claim, settings, why) => {
  expect(() => read(settings)).toThrow(why);
});

test("LC-03: names of workloads that are not Linkerd's say nothing of its identity service's", () => {
  const odd = { ...cluster, dnsNames: ["{serviceAccount}.{namespace}.svc", "{serviceAccount}.{namespace}.serviceaccount.identity.{namespace}.local"] };
  expect(read({ linkerdListen: "0.0.0.0:8080", linkerdAttestor: "cluster", apiNames: [], attestors: { cluster: odd } })).toMatchObject({ attestor: "cluster" });
});

test("an attestor does not have the name that certificates by ACME begin with", () => {
  expect(() => read({ attestors: { acme: cluster } })).toThrow(/acme is the name/);
});
