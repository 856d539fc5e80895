import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { jwtVerify, type JWTPayload } from "jose";
import { signToken, startPlatform, type Platform } from "./platform.ts";

/** A Kubernetes cluster as far as tokens go: it signs them, publishes its keys, and reviews them over its API for who has the right to ask. */
export interface Cluster {
  readonly platform: Platform;
  /** Of who may create TokenReviews. */
  readonly ownTokenFile: string;
  readonly deletedPods: Set<string>;
  /** Changes what a review says. */
  review: ((status: ReviewStatus) => object) | undefined;
  /** A token that the kubelet would project; `claims` puts in a fault. */
  token(options?: TokenOptions): Promise<string>;
  close(): Promise<void>;
}

export interface ReviewStatus {
  readonly authenticated: boolean;
  readonly audiences?: readonly string[];
  readonly user?: { readonly username: string; readonly uid: string; readonly extra: Readonly<Record<string, readonly string[]>> };
}

export interface TokenOptions {
  readonly namespace?: string;
  readonly serviceAccount?: string;
  /** undefined: bound to none. */
  readonly pod?: string | undefined;
  readonly audience?: string;
  readonly claims?: Readonly<Record<string, unknown>>;
}

export async function startCluster(now: () => Date): Promise<Cluster> {
  const platform = await startPlatform();
  const key = platform.addKey("cluster-key", "RS256");
  const ownTokenFile = join(platform.folder, "own-token");
  writeFileSync(ownTokenFile, "token-of-the-ca\n");

  async function statusOf({ token, audiences = [] }: { token: string; audiences?: string[] }): Promise<ReviewStatus> {
    try {
      const { payload } = await jwtVerify(token, key.publicKey, { currentDate: now(), audience: audiences, issuer: platform.url });
      const bound = payload["kubernetes.io"] as { pod?: { name: string; uid: string }; node?: { name: string }; serviceaccount: { uid: string } };
      if (bound.pod !== undefined && cluster.deletedPods.has(bound.pod.name)) return { authenticated: false };
      const extra = { "authentication.kubernetes.io/pod-name": bound.pod && [bound.pod.name], "authentication.kubernetes.io/pod-uid": bound.pod && [bound.pod.uid], "authentication.kubernetes.io/node-name": bound.node && [bound.node.name] };
      return {
        authenticated: true, audiences: audiences.filter((one) => [payload.aud].flat().includes(one)),
        user: { username: payload.sub ?? "", uid: bound.serviceaccount.uid, extra: Object.fromEntries(Object.entries(extra).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))) },
      };
    } catch {
      return { authenticated: false };
    }
  }

  platform.answers.set("/openid/v1/jwks", (request, body) => (request.headers.authorization === "Bearer token-of-the-ca" ? platform.answers.get("/keys")!(request, body) : { status: 403, json: { kind: "Status" } }));
  const reviews = new Map<string, ReviewStatus>();
  platform.answers.set("/apis/authentication.k8s.io/v1/tokenreviews", (request, body) => {
    if (request.headers.authorization !== "Bearer token-of-the-ca") return { status: 401, json: { kind: "Status", status: "Failure", reason: "Unauthorized" } };
    const review = JSON.parse(body) as { apiVersion?: string; kind?: string; spec: { token: string; audiences?: string[] } };
    if (request.method !== "POST" || review.apiVersion !== "authentication.k8s.io/v1" || review.kind !== "TokenReview") return { status: 400, json: { kind: "Status", reason: "BadRequest" } };
    const { deletedPods } = cluster;
    const known = reviews.get(review.spec.token) ?? { authenticated: false };
    const pod = known.user?.extra["authentication.kubernetes.io/pod-name"]?.[0];
    const asked = review.spec.audiences ?? [];
    const fits = known.authenticated && !(pod !== undefined && deletedPods.has(pod)) && asked.some((one) => known.audiences?.includes(one) === true);
    const status: ReviewStatus = fits ? { ...known, audiences: asked.filter((one) => known.audiences?.includes(one) === true) } : { authenticated: false };
    return { status: 201, json: { ...review, status: cluster.review?.(status) ?? status } };
  });

  const cluster: Cluster = {
    platform, ownTokenFile, deletedPods: new Set(), review: undefined,
    async token({ namespace = "shop", serviceAccount = "cart", pod, audience = "spiffe://east", claims = {} } = {}) {
      const nowSeconds = Math.floor(now().getTime() / 1000);
      const token = await signToken(key, {
        iss: platform.url, aud: [audience], sub: `system:serviceaccount:${namespace}:${serviceAccount}`, iat: nowSeconds, nbf: nowSeconds, exp: nowSeconds + 3600,
        "kubernetes.io": { namespace, serviceaccount: { name: serviceAccount, uid: "uid-of-account" }, ...(pod !== undefined && { pod: { name: pod, uid: `uid-of-${pod}` }, node: { name: "node-1", uid: "uid-of-node" } }) },
        ...claims,
      } as JWTPayload);
      // Verified beforehand: an answer of the platform is made at once.
      reviews.set(token, await statusOf({ token, audiences: [audience] }));
      return token;
    },
    close: () => platform.close(),
  };
  return cluster;
}
