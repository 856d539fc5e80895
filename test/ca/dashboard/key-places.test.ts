import { expect, test } from "vitest";
import type { KeyVitals, Vitals } from "../../../ca/contract/vitals.ts";
import { keyPlacesCard } from "../../../ca/dashboard/key-places.ts";

const authorities = [{ id: "0123456789abcdef", type: "root", state: "active" }] as const;
const shown = async (key: Partial<KeyVitals>, sealing?: Vitals["sealing"]): Promise<string> => {
  const keys = [{ authorityId: authorities[0].id, location: "sealed", ...key } as const];
  return String(await keyPlacesCard({ keys, ...(sealing && { sealing }) }, authorities)).replaceAll(/<[^>]*>/g, " ").replaceAll(/\s+/g, " ");
};

test.each<[string, Partial<KeyVitals>, string]>([
  ["in the store", {}, "root 0123456789ab active in the store, sealed - √ at hand"],
  ["in KMS", { location: "kms", keyId: "alias/west-root" }, "AWS KMS alias/west-root √ at hand"],
  ["on a token", { location: "pkcs11", keyId: "pkcs11:token=ca;object=root" }, "PKCS#11 token pkcs11:token=ca;object=root √ at hand"],
  ["offline", { location: "offline" }, "offline - √ for a ceremony"],
  ["out of reach", { location: "kms", keyId: "alias/west-root", trouble: "KMS says <b>no</b>" }, "× not at hand KMS says &lt;b&gt;no&lt;/b&gt;"],
])("a key that is %s is shown so", async (_, key, expected) => {
  expect(await shown(key)).toContain(expected);
});

test.each<[string, NonNullable<Vitals["sealing"]>, string]>([
  ["by KMS", { location: "kms", keyId: "arn:aws:kms:eu-central-1:0:key/1" }, "what seals the keys in the store AWS KMS arn:aws:kms:eu-central-1:0:key/1"],
  ["by a key of its own", { location: "here" }, "what seals the keys in the store given to this process"],
])("that the store is sealed %s is shown", async (_, sealing, expected) => {
  expect(await shown({}, sealing)).toContain(expected);
});

test("whoever may not read it gets none of it", () => {
  expect(keyPlacesCard(undefined, authorities)).toBe("");
});
