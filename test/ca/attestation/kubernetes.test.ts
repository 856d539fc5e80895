import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { kubernetesVerifier } from "../../../ca/attestation/kubernetes.ts";
import { attestorDeps, attestorOf, factsToObject } from "../../support/attestor.ts";
import { startCluster, type Cluster } from "../../support/cluster.ts";
import { forgeToken } from "../../support/platform.ts";

let cluster: Cluster;
const deps = attestorDeps();
beforeAll(async () => void (cluster = await startCluster(deps.now)));
beforeEach(() => {
  cluster.platform.requests.length = 0;
  cluster.review = undefined;
});
afterAll(async () => {
  deps.close();
  await cluster.close();
});

const asked = (more: object = {}) => kubernetesVerifier(attestorOf("kubernetes", { api: cluster.platform.url, caFile: cluster.platform.caFile, tokenFile: cluster.ownTokenFile, ...more }), deps);
const offline = (more: object = {}) => kubernetesVerifier(attestorOf("kubernetes", { issuer: cluster.platform.url, caFile: cluster.platform.caFile, ...more }), deps);
const refused = (why: RegExp) => expect.objectContaining({ code: "attestation_refused", message: expect.stringMatching(why) as string }) as Error;
const unavailable = (why: RegExp) => expect.objectContaining({ code: "attestor_unavailable", message: expect.stringMatching(why) as string }) as Error;

describe.each([["asking the cluster", asked], ["by the cluster's keys", offline]])("a service account's token, %s,", (_how, verifier) => {
  test("proves namespace, service account and pod", async () => {
    const { facts, record } = await verifier()(await cluster.token({ pod: "cart-1" }));
    expect(factsToObject(facts)).toEqual({ namespace: "shop", serviceAccount: "cart", pod: "cart-1", node: "node-1" });
    expect(record).toMatchObject({ serviceAccount: "shop/cart", pod: "cart-1", podUid: "uid-of-cart-1" });
  });

  test.each([
    ["for another audience", { claims: { aud: ["https://kubernetes.default.svc"] } }, /audience/],
    ["that has expired", { claims: { exp: 1 } }, /expired/],
    ["that does not expire", { claims: { exp: undefined } }, /expire|"exp"/],
    ["that is bound to no pod", { pod: undefined }, /bound to no pod/],
  ])("%s is refused", async (_claim, change, why) => {
    await expect(verifier()(await cluster.token({ pod: "cart-1", ...change }))).rejects.toThrow(refused(why));
  });

  test("that is bound to no pod passes where the operator lets it", async () => {
    expect(factsToObject((await verifier({ podBound: false })(await cluster.token({ pod: undefined }))).facts)).toMatchObject({ namespace: "shop" });
  });

  test("of another cluster is refused", async () => {
    const other = await startCluster(deps.now);
    try {
      await expect(verifier()(await other.token({ pod: "cart-1" }))).rejects.toThrow(refused(/not by|signature|does not know/));
    } finally {
      await other.close();
    }
  });
});

describe("a service account's token that the cluster is asked about", () => {
  test("is refused once its pod is deleted", async () => {
    const token = await cluster.token({ pod: "gone-1" });
    await asked()(token);
    cluster.deletedPods.add("gone-1");
    await expect(asked()(token)).rejects.toThrow(refused(/pod or service account was deleted/));
    // What the keys alone can say: it is good until it ends.
    await offline()(token);
  });

  test("is refused when the answer says nothing of the audience, or of another one", async () => {
    const token = await cluster.token({ pod: "cart-1" });
    for (const audiences of [undefined, ["https://kubernetes.default.svc"]]) {
      cluster.review = (status) => ({ ...status, audiences });
      await expect(asked()(token)).rejects.toThrow(refused(/did not check/));
    }
  });

  test.each(["system:node:n1", "system:serviceaccount:shop", "system:serviceaccount:shop:cart:x", "system:serviceaccount:../x:cart", "system:serviceaccount:a/b:cart", ""])("is refused when its user is %s", async (username) => {
    cluster.review = (status) => ({ ...status, user: { ...status.user, username } });
    await expect(asked()(await cluster.token({ pod: "cart-1" }))).rejects.toThrow(refused(/not a service account/));
  });

  test("that is plainly not for us never reaches the cluster", async () => {
    for (const token of ["hunter2", "a.b.c", await cluster.token({ claims: { aud: "x" } }), await cluster.token({ claims: { exp: 1 } }), "x".repeat(20_000)]) {
      await expect(asked()(token)).rejects.toThrow(refused(/./));
    }
    expect(cluster.platform.requests).toEqual([]);
  });

  test.each<[string, () => Promise<string>, RegExp]>([
    ["that another key signed", async () => (await cluster.token({ pod: "cart-1" })).replace(/[^.]+$/, "AAAA"), /signature/],
    ["of another cluster", async () => {
      const other = await startCluster(deps.now);
      const token = await other.token({ pod: "cart-1", claims: { iss: cluster.platform.url } });
      await other.close();
      return token;
    }, /signature/],
    ["signed by nobody", async () => forgeToken({ alg: "none" }, { exp: 9e9, aud: "spiffe://east" }, () => Buffer.alloc(0)), /algorithm/],
    ["of no service account", () => cluster.token({ pod: "cart-1", claims: { sub: "system:node:n1" } }), /not a service account/],
    ["whose private claim says another account", () => cluster.token({ pod: "cart-1", claims: { sub: "system:serviceaccount:kube-system:admin" } }), /not a service account/],
    ["without that claim", () => cluster.token({ pod: "cart-1", claims: { "kubernetes.io": undefined } }), /not a service account/],
    ["that is bound to no pod", () => cluster.token({}), /bound to no pod/],
  ])("%s costs the cluster no review", async (_claim, make, why) => {
    const token = await make();
    cluster.platform.requests.length = 0;
    await expect(asked()(token)).rejects.toThrow(refused(why));
    expect(cluster.platform.requests.filter((each) => each.startsWith("POST"))).toEqual([]);
  });

  test("by another issuer than the one that is named costs none either", async () => {
    await expect(asked({ issuer: "https://other.example" })(await cluster.token({ pod: "cart-1" }))).rejects.toThrow(refused(/not by https:\/\/other/));
    expect(cluster.platform.requests).toEqual([]);
    await asked({ issuer: cluster.platform.url, keysUrl: `${cluster.platform.url}/keys` })(await cluster.token({ pod: "cart-1" }));
  });

  test("is asked about all the same where the cluster does not show its keys", async () => {
    const shown = cluster.platform.answers.get("/openid/v1/jwks")!;
    cluster.platform.answers.delete("/openid/v1/jwks");
    try {
      await asked()(await cluster.token({ pod: "cart-1" }));
      await expect(asked()((await cluster.token({ pod: "cart-1" })).replace(/[^.]+$/, "AAAA"))).rejects.toThrow(refused(/does not know/));
    } finally {
      cluster.platform.answers.set("/openid/v1/jwks", shown);
    }
  });

  test("waits for its turn: of hundreds at once a few are asked about, and the others after them", async () => {
    const token = await cluster.token({ pod: "cart-1" });
    let [under, most] = [0, 0];
    const fetch: typeof deps.fetch = async (outgoing) => {
      if (outgoing.body === undefined) return deps.fetch(outgoing);
      most = Math.max(most, under += 1);
      return deps.fetch(outgoing).finally(() => (under -= 1));
    };
    const verify = kubernetesVerifier(attestorOf("kubernetes", { api: cluster.platform.url, caFile: cluster.platform.caFile, tokenFile: cluster.ownTokenFile }), { ...deps, fetch });
    await Promise.all(Array.from({ length: 60 }, () => verify(token)));
    expect(most).toBe(16);
  });

  test("waits for the cluster: what does not answer, or does not let us ask, is no refusal of the workload", async () => {
    const token = await cluster.token({ pod: "cart-1" });
    const otherToken = join(cluster.platform.folder, "other-token");
    writeFileSync(otherToken, "not-ours\n");
    await expect(asked({ tokenFile: otherToken })(token)).rejects.toThrow(unavailable(/system:auth-delegator/));
    await expect(asked({ tokenFile: "/nowhere" })(token)).rejects.toThrow(unavailable(/cannot be read/));
    await expect(asked({ api: "https://127.0.0.1:1" })(token)).rejects.toThrow(unavailable(/no answer/));
    await expect(asked({ caFile: undefined })(token)).rejects.toThrow(unavailable(/no answer/));
  });
});

describe("a service account's token by the cluster's keys", () => {
  test("whose private claim says another than its subject is refused", async () => {
    await expect(offline()(await cluster.token({ pod: "cart-1", claims: { sub: "system:serviceaccount:kube-system:admin" } }))).rejects.toThrow(refused(/not a service account/));
  });
});
