import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";

/** Why a request is refused, as AWS names it. */
export interface SignatureFault {
  readonly type: "MissingAuthenticationTokenException" | "IncompleteSignatureException" | "UnrecognizedClientException" | "InvalidSignatureException";
  readonly message: string;
}

export interface SigV4Rules {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  readonly service: string;
  readonly nowMs: number;
  /** Headers that have to be signed; default: those of AWS's JSON protocols. */
  readonly needed?: readonly string[];
}

/**
 * Checks an AWS Signature Version 4 over method, path, query, headers and body; written from the specification, not from the SDK.
 * @returns undefined for a good one
 * @source AWS IAM User Guide, "Create a signed AWS API request"
 */
export function checkSigV4({ method = "", url = "", headers }: IncomingMessage, body: Uint8Array, rules: SigV4Rules): SignatureFault | undefined {
  const authorization = headers.authorization;
  if (authorization === undefined) return { type: "MissingAuthenticationTokenException", message: "Missing Authentication Token" };
  const [, credential, signedHeaders, signature] =
    /^AWS4-HMAC-SHA256 Credential=([^,\s]+),\s*SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})$/.exec(authorization) ?? [];
  if (credential === undefined || signedHeaders === undefined || signature === undefined) return incomplete("Authorization header is malformed");
  const [accessKeyId, date, region, service, terminator] = credential.split("/");
  if (accessKeyId !== rules.accessKeyId) return { type: "UnrecognizedClientException", message: "The security token included in the request is invalid." };
  if (region !== rules.region || service !== rules.service || terminator !== "aws4_request") return invalid("Credential should be scoped to a valid region and service");

  const names = signedHeaders.split(";");
  for (const needed of rules.needed ?? ["host", "x-amz-date", "x-amz-target"]) if (!names.includes(needed)) return incomplete(`'${needed}' must be signed`);
  if (names.join() !== [...names].sort().join()) return incomplete("SignedHeaders are not sorted");
  const time = String(headers["x-amz-date"]);
  const [, y, mo, d, h, mi, s] = (/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(time) ?? []).map(Number);
  const sentAtMs = Date.UTC(y ?? 0, (mo ?? 0) - 1, d, h, mi, s);
  if (date !== time.slice(0, 8)) return invalid("Date in Credential scope does not match x-amz-date");
  if (!(Math.abs(rules.nowMs - sentAtMs) <= maxSkewMs)) return invalid(`Signature expired: ${time} is more than 5 min from the server's time`);

  const bodyHash = sha256(body);
  const declared = headers["x-amz-content-sha256"];
  if (declared !== undefined && declared !== bodyHash) return invalid("x-amz-content-sha256 does not match the body");
  const [path = "/", query = ""] = url.split("?");
  const canonicalHeaders = names.map((name) => `${name}:${String(headers[name] ?? "").trim().replaceAll(/ +/g, " ")}\n`).join("");
  const canonicalRequest = [method, path, query.split("&").sort().join("&"), canonicalHeaders, signedHeaders, bodyHash].join("\n");
  const scope = [date, region, service, terminator].join("/");
  const stringToSign = ["AWS4-HMAC-SHA256", time, scope, sha256(canonicalRequest)].join("\n");
  const key = [date, region, service, "aws4_request"].reduce<string | Buffer>((previous, part) => hmac(previous, part), `AWS4${rules.secretAccessKey}`);
  const expected = hmac(key, stringToSign);
  if (timingSafeEqual(expected, Buffer.from(signature, "hex"))) return undefined;
  return invalid("The request signature we calculated does not match the signature you provided.");
}

function invalid(message: string): SignatureFault {
  return { type: "InvalidSignatureException", message };
}

function incomplete(message: string): SignatureFault {
  return { type: "IncompleteSignatureException", message };
}

function hmac(key: string | Buffer, data: string): Buffer {
  return createHmac("sha256", key).update(data).digest();
}

function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

const maxSkewMs = 5 * 60_000;
