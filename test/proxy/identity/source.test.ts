import { describe, expect, test } from "vitest";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import { identityHolder, type Identity } from "../../../proxy/identity/source.ts";
import { testAuthority } from "../../support/test-ca.ts";

const east = testAuthority({ trustDomain: "east" });

function identity(notAfterMs: number): Identity {
  const leaf = east.leaf();
  return {
    id: parseSpiffeId("spiffe://east/workload"), chain: leaf.chain, chainPem: leaf.chainPem, privateKey: leaf.privateKey,
    serialNumber: leaf.serialNumber, notBeforeMs: 0, notAfterMs,
  };
}

describe("the identity", () => {
  test("is there through the whole last second of its validity and not a millisecond longer", () => {
    let nowMs = 5000;
    const holder = identityHolder(() => nowMs);
    expect(holder.identity()).toBeUndefined();
    const own = identity(10_000);
    holder.setIdentity(own);
    nowMs = 10_999;
    expect(holder.identity()).toBe(own);
    nowMs = 11_000;
    expect(holder.identity()).toBeUndefined();
  });

  test("its swap is told to every listener, once, until they leave", () => {
    const holder = identityHolder(() => 0);
    const heard: string[] = [];
    const leave = holder.onChange((what) => heard.push(`a ${what} ${holder.identity()?.serialNumber}`));
    holder.onChange((what) => heard.push(`b ${what}`));
    const own = identity(1);
    holder.setIdentity(own);
    holder.setIdentity(own);
    leave();
    holder.setIdentity(undefined);
    expect(heard).toEqual([`a identity ${own.serialNumber}`, "b identity", "b identity"]);
  });
});

describe("the trust", () => {
  test("is one object that never changes; each change makes another with a higher version", () => {
    const holder = identityHolder(() => 0);
    expect(holder.trust()).toBeUndefined();
    const bundles = east.bundles();
    holder.setBundles("east", bundles);
    holder.setRevoked(new Set());
    const first = holder.trust();
    bundles.clear();
    expect(first?.bundles.has("east")).toBe(true);
    const serialNumbers = new Set(["aa"]);
    holder.setRevoked(serialNumbers);
    serialNumbers.add("bb");
    expect(first?.revoked.size).toBe(0);
    expect(holder.trust()?.revoked).toEqual(new Set(["aa"]));
    expect(holder.trust()?.version).toBeGreaterThan(first?.version ?? Infinity);
    expect(Object.isFrozen(first)).toBe(true);
  });

  test("is not there while it is unknown what is revoked, and gone when that is no longer known", () => {
    const holder = identityHolder(() => 0);
    holder.setBundles("east", east.bundles());
    expect(holder.trust()).toBeUndefined();
    holder.setRevoked(new Set());
    expect(holder.trust()?.revoked).toEqual(new Set());
    let changes = 0;
    holder.onChange(() => changes++);
    holder.setRevoked(undefined);
    holder.setRevoked(undefined);
    expect([holder.trust(), changes]).toEqual([undefined, 1]);
  });

  test("revocations that are known before the first bundle come with it, and the same ones again are no change", () => {
    const holder = identityHolder(() => 0);
    holder.setRevoked(new Set(["aa"]));
    holder.setBundles("east", east.bundles());
    expect(holder.trust()?.revoked).toEqual(new Set(["aa"]));
    let changes = 0;
    holder.onChange(() => changes++);
    holder.setRevoked(new Set(["aa"]));
    expect(changes).toBe(0);
    holder.setRevoked(new Set(["bb"]));
    expect(changes).toBe(1);
    holder.setRevoked(new Set());
    expect(holder.trust()?.revoked.size).toBe(0);
  });
});
