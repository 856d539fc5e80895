import { checkSigV4 } from "./sigv4.ts";
import type { Platform } from "./platform.ts";

/** Whom AWS's Security Token Service knows. */
export interface StsCaller {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly account: string;
  readonly arn: string;
  readonly userId: string;
}

/** Puts STS's GetCallerIdentity under the platform's root: signature checked in full, JSON for who accepts it. */
export function serveSts(platform: Platform, callers: readonly StsCaller[], region: string, nowMs: () => number): void {
  platform.answers.set("/", (request, body) => {
    const failed = (code: string, message: string) => ({ status: 403, json: { Error: { Code: code, Message: message, Type: "Sender" } } });
    const accessKeyId = /Credential=([A-Z0-9]+)\//.exec(request.headers.authorization ?? "")?.[1];
    const caller = callers.find((one) => one.accessKeyId === accessKeyId);
    if (caller === undefined) return failed("InvalidClientTokenId", "The security token included in the request is invalid.");
    if (request.headers["x-amz-security-token"] !== caller.sessionToken) return failed("InvalidClientTokenId", "The security token included in the request is invalid.");
    const fault = checkSigV4(request, Buffer.from(body), { ...caller, region, service: "sts", nowMs: nowMs(), needed: ["host", "x-amz-date"] });
    if (fault !== undefined) return failed(fault.type, fault.message);
    if (body !== "Action=GetCallerIdentity&Version=2011-06-15") return failed("AccessDenied", "not what a test asks for");
    const { account: Account, arn: Arn, userId: UserId } = caller;
    if (request.headers.accept !== "application/json") return { text: `<GetCallerIdentityResponse/>`, headers: { "content-type": "text/xml" } };
    return { json: { GetCallerIdentityResponse: { GetCallerIdentityResult: { Account, Arn, UserId }, ResponseMetadata: { RequestId: "01234567-89ab-cdef-0123-456789abcdef" } } } };
  });
}

/** A token that AWS takes for an OIDC provider's, and the role that trusts it. */
export interface WebIdentity {
  readonly token: string;
  readonly roleArn: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
}

/** What STS answers to AssumeRoleWithWebIdentity, in XML as it does by default. @source AWS STS API Reference, AssumeRoleWithWebIdentity */
export function webIdentityAnswer(known: readonly WebIdentity[], body: URLSearchParams): { readonly status?: number; readonly text: string } {
  const failed = (status: number, code: string) => ({ status, text: `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <Error>\n    <Type>Sender</Type>\n    <Code>${code}</Code>\n    <Message>as AWS would say</Message>\n  </Error>\n</ErrorResponse>` });
  if (body.get("Action") !== "AssumeRoleWithWebIdentity" || body.get("Version") !== "2011-06-15" || !/^[\w+=,.@-]{2,64}$/.test(body.get("RoleSessionName") ?? "")) return failed(400, "ValidationError");
  const identity = known.find(({ token }) => token === body.get("WebIdentityToken"));
  if (identity === undefined) return failed(400, "InvalidIdentityToken");
  if (identity.roleArn !== body.get("RoleArn")) return failed(403, "AccessDenied");
  const { accessKeyId, secretAccessKey, sessionToken, roleArn } = identity;
  return {
    text: `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <AssumedRoleUser><Arn>${roleArn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")}/${body.get("RoleSessionName")}</Arn><AssumedRoleId>AROAEXAMPLE:${body.get("RoleSessionName")}</AssumedRoleId></AssumedRoleUser>
    <Credentials>
      <SessionToken>${sessionToken}</SessionToken>
      <SecretAccessKey>${secretAccessKey}</SecretAccessKey>
      <Expiration>2099-01-01T00:00:00Z</Expiration>
      <AccessKeyId>${accessKeyId}</AccessKeyId>
    </Credentials>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata><RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId></ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>`,
  };
}
