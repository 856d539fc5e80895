import { readFile } from "node:fs/promises";
import { decodeJwt, decodeProtectedHeader } from "jose";
import type { KubernetesAttestor } from "../config/attestors.ts";
import { parseObject } from "../pki/json.ts";
import { Refusal } from "../refusal.ts";
import { FetchError, type Fetcher } from "./fetch.ts";
import { algorithms, verifyForeignJwt } from "./foreign-jwt.ts";
import { keySetOf } from "./key-set.ts";
import { textOf, usernameOfClaims } from "./service-account.ts";
import { TokenFault } from "./token-fault.ts";
import { turns } from "../turns.ts";

export interface TokenReviewDeps {
  readonly fetch: Fetcher["fetch"];
  readonly now: () => Date;
}

/** What a cluster says of a token that it knows. */
export interface ReviewedToken {
  readonly username: unknown;
  readonly uid: unknown;
  /** By name, without the prefix `authentication.kubernetes.io/`. */
  readonly extra: (name: string) => string | undefined;
}

/**
 * Asks a cluster about tokens. Anybody may send one, so what is no token of this cluster for this audience does not reach its API: first its form
 * is looked at, then its signature, by the cluster's own keys, as far as they can be had; and few are asked about at once.
 * @throws {TokenFault}, {Refusal} attestation_refused | attestor_unavailable
 * @source kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin, "TokenReview"
 */
export function tokenReviewer(
  { name, audience, podBound }: KubernetesAttestor, api: ReviewApi, { fetch, now }: TokenReviewDeps,
): (token: string) => Promise<ReviewedToken> {
  const asking = turns({ atOnce: maxReviewsAtOnce, waiting: maxReviewsWaiting });
  const base = baseOf(api);
  // Every service account of a cluster may read its keys (ClusterRole system:service-account-issuer-discovery).
  const keys = keySetOf(name, { issuer: api.issuer ?? base, keys: api.keys ?? { kind: "url", url: `${base}/openid/v1/jwks` }, caFile: api.caFile }, {
    now, fetch: async (outgoing) => fetch(api.keys === undefined ? { ...outgoing, headers: { ...outgoing.headers, authorization: `Bearer ${await readOwnToken(api)}` } } : outgoing),
  });

  /** By the keys, if they are known: a cluster that does not show them is asked all the same. */
  async function checkSignature(token: string): Promise<void> {
    const known = await keys.keys().then(() => true, (error: unknown) => {
      if (error instanceof Refusal) return false;
      throw error;
    });
    if (known) await verifyForeignJwt(token, { attestor: name, issuer: api.issuer, audience, keys, nowMs: now().getTime() });
  }

  function unavailable(why: string, cause?: unknown): Refusal {
    return new Refusal("attestor_unavailable", `The attestor "${name}" cannot be asked now: ${why}. Try again in some seconds.`, { cause, retryAfterSeconds: 5 });
  }

  return async (token) => {
    checkForm(name, { audience, podBound, issuer: api.issuer }, token, now().getTime());
    await checkSignature(token);
    const answer = await asking.run(() => ask(api, reviewOf(token, audience), fetch), () => new FetchError(`${maxReviewsAtOnce} tokens are being asked about, and ${maxReviewsWaiting} wait`))
      .catch((cause: unknown) => {
        throw cause instanceof FetchError ? unavailable(cause.message, cause) : cause;
      });
    const { status } = answer as { status?: { error?: unknown; authenticated?: unknown; audiences?: unknown; user?: { username?: unknown; uid?: unknown; extra?: Readonly<Record<string, unknown>> } } };
    const error = textOf(status?.error) ?? "";
    if (error !== "") throw new TokenFault(name, `the cluster does not take it (${sayable(error, token)}); has it expired, or were its pod or service account deleted?`);
    if (status?.authenticated !== true) throw refused(name, "the cluster does not know it: it has expired, or its pod or service account was deleted");
    // An API server that knows nothing of audiences leaves them out, and has not looked at the token's.
    if (!Array.isArray(status.audiences) || !status.audiences.includes(audience)) throw refused(name, `the cluster did not check that it is for the audience ${audience}`);
    const { username, uid, extra = {} } = status.user ?? {};
    return {
      username, uid,
      extra(member) {
        const values = extra[`authentication.kubernetes.io/${member}`];
        return Array.isArray(values) && typeof values[0] === "string" ? values[0] : undefined;
      },
    };
  };
}

/** Whether the cluster reviews tokens for us: asks about one that is nobody's. @returns what is wrong */
export async function lookAtReviews({ audience }: KubernetesAttestor, api: ReviewApi, { fetch }: Pick<TokenReviewDeps, "fetch">): Promise<string | undefined> {
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

/** @throws {FetchError} with what is wrong, whatever it is */
async function ask(api: ReviewApi, body: string, fetch: Fetcher["fetch"]): Promise<object> {
  const headers = { authorization: `Bearer ${await readOwnToken(api)}`, accept: "application/json", "content-type": "application/json" };
  const { status, text } = await fetch({ url: `${baseOf(api)}/apis/authentication.k8s.io/v1/tokenreviews`, caFile: api.caFile, headers, body });
  if (status === 401 || status === 403) throw new FetchError(`its API does not let us create TokenReviews (${status}); the CA's service account needs the role system:auth-delegator`);
  if (status !== 200 && status !== 201) throw new FetchError(`its API answered ${status}`);
  const answer = parseObject(text);
  if (answer === undefined) throw new FetchError("its API's answer is no TokenReview");
  return answer;
}

/** @throws {FetchError} */
async function readOwnToken({ tokenFile }: ReviewApi): Promise<string> {
  const own = (await readFile(tokenFile, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new FetchError(`${tokenFile} cannot be read (${cause.code})`, { cause });
  })).trim();
  // Anything else would be an error of node:http that quotes the header, and so the token.
  if (!/^[\x21-\x7e]{1,16384}$/.test(own)) throw new FetchError(`${tokenFile} is not one line of text`);
  return own;
}

function baseOf({ url }: ReviewApi): string {
  return url.replace(/\/$/, "");
}

/** What is plainly no projected token for us. Nothing here is believed. */
function checkForm(name: string, { audience, podBound, issuer }: { readonly audience: string; readonly podBound: boolean; readonly issuer: string | undefined }, token: string, nowMs: number): void {
  if (token.length > maxTokenLength) throw new TokenFault(name, `it has more than ${maxTokenLength} characters`);
  let claims: ReturnType<typeof decodeJwt>;
  let header: ReturnType<typeof decodeProtectedHeader>;
  try {
    [claims, header] = [decodeJwt(token), decodeProtectedHeader(token)];
  } catch {
    throw new TokenFault(name, "it is no JWT in compact form");
  }
  const { aud, exp, iss, sub } = claims;
  if (header.alg === undefined || !algorithms.includes(header.alg)) throw new TokenFault(name, `its algorithm is none of ${algorithms.join(", ")}`);
  if (exp === undefined) throw new TokenFault(name, "it does not expire; it takes one that is projected into the pod, with an audience");
  if (typeof exp !== "number" || exp * 1000 + leewayMs < nowMs) throw new TokenFault(name, "it has expired; take a new one");
  if (!(Array.isArray(aud) ? aud : [aud]).includes(audience)) throw new TokenFault(name, `it is not for the audience ${audience}; set it in the pod's serviceAccountToken volume`);
  if (issuer !== undefined && iss !== issuer) throw new TokenFault(name, `it is not by ${issuer}`);
  if (sub !== usernameOfClaims(claims)) throw new TokenFault(name, "it is not a service account's projected token");
  const { pod } = claims["kubernetes.io"] as { readonly pod?: unknown };
  if (podBound && pod === undefined) throw new TokenFault(name, "it is bound to no pod, so it would outlive one; project it into the pod, or set podBound to false");
}

/** What a cluster says is wrong, in one short line without the token. */
function sayable(error: string, token: string): string {
  const secret = token.slice(token.lastIndexOf(".") + 1);
  return error.replaceAll(secret, "...").replaceAll(/[^\x20-\x7e]+/g, " ").slice(0, maxReasonLength);
}

function refused(name: string, why: string): Refusal {
  return new Refusal("attestation_refused", `The attestor "${name}" refuses the token: ${why}.`);
}

const leewayMs = 30_000;
const maxTokenLength = 16 * 1024;
const maxReasonLength = 200;
/** An API server works on 200 writing requests at once by default, for the whole cluster. */
const maxReviewsAtOnce = 16;
/** As many as a deployment that starts at once may have; each waits for some milliseconds. */
const maxReviewsWaiting = 512;
