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
