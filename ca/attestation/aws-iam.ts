import type { AwsIamAttestor } from "../config/attestors.ts";
import { awsIamRequest, stsBody, stsUrl, type AwsIamClaim } from "../pki/aws-iam-request.ts";
import { PkiError } from "../pki/errors.ts";
import { Refusal } from "../refusal.ts";
import { factsOf, recordOf, type Evidence } from "./evidence.ts";
import { FetchError, type Fetcher } from "./fetch.ts";

export interface AwsIamDeps {
  readonly fetch: Fetcher["fetch"];
  readonly trustDomain: string;
}

/**
 * Asks AWS who signed a `GetCallerIdentity` request. Host, path, body and headers are ours; the caller gives the signature, its time and
 * its session token. The signature covers headers that name this CA and the CSR, so it is good for nobody else and for no other key.
 * @source AWS STS API Reference, GetCallerIdentity; CVE-2020-16250, for what becomes of callers who choose more of the request
 */
export function awsIamVerifier({ name, regions, endpoint, caFile }: AwsIamAttestor, { fetch, trustDomain }: AwsIamDeps): (claim: AwsIamClaim, csrDer: Uint8Array) => Promise<Evidence> {
  const refused = (why: string, cause?: unknown): Refusal => new Refusal("attestation_refused", `The attestor "${name}" refuses the signed request: ${why}.`, { cause });
  const unavailable = (why: string): Refusal => new Refusal("attestor_unavailable", `The attestor "${name}" cannot be asked now: ${why}. Try again in some seconds.`, { retryAfterSeconds: 5 });

  return async (claim, csrDer) => {
    if (!regions.includes(claim.region)) throw refused(`its region is none of ${regions.join(", ")}`);
    const { url, headers, body } = build(claim, csrDer);
    const { status, text } = await fetch({ url, caFile, headers, body }).catch((error: unknown) => {
      throw error instanceof FetchError ? unavailable(error.message) : error;
    });
    if (status >= 500 || status === 429) throw unavailable(`AWS answered ${status}`);
    if (status !== 200) throw refused(`AWS does not accept its signature (${status}); sign it anew, with current credentials and the right time`);
    return evidenceOf(identityOf(text) ?? fail("AWS's answer names nobody"));
  };

  function build(claim: AwsIamClaim, csrDer: Uint8Array) {
    try {
      return awsIamRequest(claim, { endpoint, trustDomain, csrDer });
    } catch (cause) {
      if (cause instanceof PkiError) throw refused(cause.message, cause);
      throw cause;
    }
  }

  function fail(why: string): never {
    throw unavailable(why);
  }
}

/** Whether AWS's Security Token Service is reached in each region: it refuses what nobody signed, and by that is there. @returns what is wrong */
export async function lookAtSts({ regions, endpoint, caFile }: AwsIamAttestor, { fetch }: Pick<AwsIamDeps, "fetch">): Promise<string | undefined> {
  for (const url of new Set(regions.map((region) => new URL("/", endpoint ?? stsUrl(region)).href))) {
    try {
      const { status } = await fetch({ url, caFile, headers: { "content-type": "application/x-www-form-urlencoded", accept: "application/json" }, body: stsBody });
      if (status >= 500) return `${url} answered ${status}`;
    } catch (error) {
      if (error instanceof FetchError) return error.message;
      throw error;
    }
  }
  return undefined;
}

interface CallerIdentity {
  readonly account: string;
  readonly arn: string;
  readonly userId: string;
}

function identityOf(text: string): CallerIdentity | undefined {
  try {
    const { GetCallerIdentityResponse: { GetCallerIdentityResult: { Account: account, Arn: arn, UserId: userId } } } = JSON.parse(text) as {
      GetCallerIdentityResponse: { GetCallerIdentityResult: Readonly<Record<string, unknown>> };
    };
    const all = [account, arn, userId].every((one) => typeof one === "string");
    return all && accountForm.test(String(account)) ? { account: String(account), arn: String(arn), userId: String(userId) } : undefined;
  } catch {
    return undefined;
  }
}

/** @source IAM User Guide, "IAM identifiers"; the session's name is chosen by whoever assumes the role, unless its policy says otherwise */
function evidenceOf({ account, arn, userId }: CallerIdentity): Evidence {
  const [, arnAccount, role, session] = /^arn:[a-z-]+:sts::(\d{12}):assumed-role\/([\w+=,.@-]+)\/([\w+=,.@-]+)$/.exec(arn) ?? [];
  const [, userAccount, user] = /^arn:[a-z-]+:iam::(\d{12}):user\/(?:[\x21-\x7e]*\/)?([\w+=,.@-]+)$/.exec(arn) ?? [];
  const [uniqueId] = userId.split(":");
  return {
    facts: factsOf({ account, arn, uniqueId, ...(arnAccount === account && { role, session }), ...(userAccount === account && { user }) }),
    record: recordOf({ account, arn, userId }),
  };
}

const accountForm = /^\d{12}$/;
