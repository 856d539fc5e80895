import type { KubernetesAttestor } from "../config/attestors.ts";
import { Refusal } from "../refusal.ts";
import { factsOf, recordOf, type Evidence } from "./evidence.ts";
import type { Fetcher } from "./fetch.ts";
import { verifyForeignJwt } from "./foreign-jwt.ts";
import { keySetOf, type KeySet } from "./key-set.ts";
import { boundClaims, objectOf, textOf, usernameOfClaims } from "./service-account.ts";
import { tokenReviewer, type ReviewedToken } from "./token-review.ts";

export interface KubernetesDeps {
  readonly fetch: Fetcher["fetch"];
  readonly now: () => Date;
}

/**
 * Verifies projected service-account tokens: by the cluster's TokenReview, which also knows whether the pod still exists, or offline by the
 * cluster's keys, where a token is good to its end.
 */
export function kubernetesVerifier(config: KubernetesAttestor, deps: KubernetesDeps, given?: KeySet): (token: string) => Promise<Evidence> {
  const { verify } = config;
  if (verify.kind === "api") {
    const review = tokenReviewer(config, verify, deps);
    return async (token) => evidenceOf(config, holderOfReview(await review(token)));
  }
  const keys = given ?? keySetOf(config.name, verify, deps);
  return async (token) => {
    const claims = await verifyForeignJwt(token, { attestor: config.name, issuer: verify.issuer, audience: config.audience, keys, nowMs: deps.now().getTime() });
    return evidenceOf(config, holderOfClaims(claims));
  };
}

/** Whose token it is. */
interface Holder {
  /** `system:serviceaccount:NAMESPACE:NAME` */
  readonly username: string;
  readonly accountUid: string | undefined;
  readonly pod: string | undefined;
  readonly podUid: string | undefined;
  readonly node: string | undefined;
}

function holderOfReview({ username, uid, extra }: ReviewedToken): Holder {
  return { username: textOf(username) ?? "", accountUid: textOf(uid), pod: extra("pod-name"), podUid: extra("pod-uid"), node: extra("node-name") };
}

function holderOfClaims(claims: Readonly<Record<string, unknown>>): Holder {
  const bound = boundClaims(claims);
  const [account, pod, node] = [objectOf(bound.serviceaccount), objectOf(bound.pod), objectOf(bound.node)];
  const username = usernameOfClaims(claims);
  return {
    // The subject is what authorizes everywhere; the private claim has to say the same.
    username: claims["sub"] === username ? username : "",
    accountUid: textOf(account["uid"]), pod: textOf(pod["name"]), podUid: textOf(pod["uid"]), node: textOf(node["name"]),
  };
}

function evidenceOf({ name, podBound }: KubernetesAttestor, { username, accountUid, pod, podUid, node }: Holder): Evidence {
  const [, namespace, serviceAccount] = /^system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})$/.exec(username) ?? [];
  if (namespace === undefined || serviceAccount === undefined) throw refused(name, "it is not a service account's");
  if (podBound && (pod === undefined || podUid === undefined)) throw refused(name, "it is bound to no pod, so it would outlive one; project it into the pod, or set podBound to false");
  return {
    facts: factsOf({ namespace, serviceAccount, pod, node }),
    record: recordOf({ serviceAccount: `${namespace}/${serviceAccount}`, serviceAccountUid: accountUid, pod, podUid, node }),
  };
}

function refused(name: string, why: string): Refusal {
  return new Refusal("attestation_refused", `The attestor "${name}" refuses the token: ${why}.`);
}
