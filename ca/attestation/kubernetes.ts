import { readFile } from "node:fs/promises";
import { decodeJwt } from "jose";
import type { KubernetesAttestor } from "../config-attestors.ts";
import { isObject, type JsonObject } from "../pki/json.ts";
import { Refusal } from "../refusal.ts";
import { factsOf, recordOf, type Evidence } from "./evidence.ts";
import { FetchError, type Fetcher } from "./fetch.ts";
import { verifyForeignJwt } from "./foreign-jwt.ts";
import { keySetOf, type KeySet } from "./key-set.ts";

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
  if (verify.kind === "api") return async (token) => evidenceOf(config, await review(config, verify, token, deps));
  const keys = given ?? keySetOf(config.name, verify, deps);
  return async (token) => {
    const claims = await verifyForeignJwt(token, { attestor: config.name, issuer: verify.issuer, audience: config.audience, keys, nowMs: deps.now().getTime() });
    return evidenceOf(config, holderOfClaims(claims));
  };
}

/** Whether the cluster reviews tokens for us: asks about one that is nobody's. @returns what is wrong */
export async function lookAtReviews({ audience }: KubernetesAttestor, api: ReviewApi, { fetch }: Pick<KubernetesDeps, "fetch">): Promise<string | undefined> {
  try {
    await ask(api, reviewOf("nobody", audience), fetch);
    return undefined;
  } catch (error) {
    if (error instanceof FetchError) return error.message;
    throw error;
  }
}

type ReviewApi = Extract<KubernetesAttestor["verify"], { kind: "api" }>;

function reviewOf(token: string, audience: string): string {
  return JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token, audiences: [audience] } });
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

/** @source kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin, "TokenReview" */
async function review({ name, audience }: KubernetesAttestor, api: ReviewApi, token: string, { fetch, now }: KubernetesDeps): Promise<Holder> {
  checkWorthAsking(name, audience, token, now().getTime());
  const answer = await ask(api, reviewOf(token, audience), fetch).catch((cause: unknown) => {
    if (!(cause instanceof FetchError)) throw cause;
    throw new Refusal("attestor_unavailable", `The attestor "${name}" cannot be asked now: ${cause.message}. Try again in some seconds.`, { cause, retryAfterSeconds: 5 });
  });
  const { status } = answer as { status?: { authenticated?: unknown; audiences?: unknown; user?: { username?: unknown; uid?: unknown; extra?: Readonly<Record<string, unknown>> } } };
  if (status?.authenticated !== true) {
    throw refused(name, "the cluster does not know it: it has expired, or its pod or service account was deleted");
  }
  // An API server that knows nothing of audiences leaves them out, and has not looked at the token's.
  if (!Array.isArray(status.audiences) || !status.audiences.includes(audience)) throw refused(name, `the cluster did not check that it is for the audience ${audience}`);
  const { username, uid, extra = {} } = status.user ?? {};
  const first = (key: string): string | undefined => {
    const values = extra[`authentication.kubernetes.io/${key}`];
    return Array.isArray(values) && typeof values[0] === "string" ? values[0] : undefined;
  };
  return {
    username: typeof username === "string" ? username : "", accountUid: typeof uid === "string" ? uid : undefined,
    pod: first("pod-name"), podUid: first("pod-uid"), node: first("node-name"),
  };
}

/** @throws {FetchError} with what is wrong, whatever it is */
async function ask({ url, tokenFile, caFile }: ReviewApi, body: string, fetch: Fetcher["fetch"]): Promise<object> {
  const own = (await readFile(tokenFile, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new FetchError(`${tokenFile} cannot be read (${cause.code})`, { cause });
  })).trim();
  // Anything else would be an error of node:http that quotes the header, and so the token.
  if (!/^[\x21-\x7e]{1,16384}$/.test(own)) throw new FetchError(`${tokenFile} is not one line of text`);
  const headers = { authorization: `Bearer ${own}`, accept: "application/json", "content-type": "application/json" };
  const { status, text } = await fetch({ url: `${url.replace(/\/$/, "")}/apis/authentication.k8s.io/v1/tokenreviews`, caFile, headers, body });
  if (status === 401 || status === 403) throw new FetchError(`its API does not let us create TokenReviews (${status}); the CA's service account needs the role system:auth-delegator`);
  if (status !== 200 && status !== 201) throw new FetchError(`its API answered ${status}`);
  const answer = parseJson(text);
  if (!isObject(answer)) throw new FetchError("its API's answer is no TokenReview");
  return answer;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new FetchError("its API's answer is not JSON");
  }
}

/** What is plainly no token of ours does not reach the cluster's API: anybody may send one. Nothing here is believed. */
function checkWorthAsking(name: string, audience: string, token: string, nowMs: number): void {
  if (token.length > maxTokenLength) throw refused(name, `it has more than ${maxTokenLength} characters`);
  let claims: ReturnType<typeof decodeJwt>;
  try {
    claims = decodeJwt(token);
  } catch {
    throw refused(name, "it is no JWT in compact form");
  }
  const { aud, exp } = claims;
  if (exp === undefined) throw refused(name, "it does not expire; it takes one that is projected into the pod, with an audience");
  if (typeof exp !== "number" || exp * 1000 + leewayMs < nowMs) throw refused(name, "it has expired; take a new one");
  if (!(Array.isArray(aud) ? aud : [aud]).includes(audience)) throw refused(name, `it is not for the audience ${audience}; set it in the pod's serviceAccountToken volume`);
}

/** @source KEP-1205, KEP-4193: the claim `kubernetes.io` of bound service-account tokens */
function holderOfClaims(claims: Readonly<Record<string, unknown>>): Holder {
  const bound = objectOf(claims["kubernetes.io"]);
  const [account, pod, node] = [objectOf(bound["serviceaccount"]), objectOf(bound["pod"]), objectOf(bound["node"])];
  const username = `system:serviceaccount:${textOf(bound["namespace"])}:${textOf(account["name"])}`;
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

function objectOf(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function refused(name: string, why: string): Refusal {
  return new Refusal("attestation_refused", `The attestor "${name}" refuses the token: ${why}.`);
}

const leewayMs = 30_000;
const maxTokenLength = 16 * 1024;
