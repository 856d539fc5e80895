import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { awsAuthorization, awsDate, type AwsCredentials } from "../pki/aws-signature.ts";
import { sha256 } from "../pki/sha256.ts";
import type { KmsApi, KmsOperation, KmsOutput } from "./kms.ts";

/** What of a function's environment says who asks KMS, and where; of the last four any that is there leaves that to the AWS SDK. */
export type KmsEnvironment = Readonly<Partial<Record<
  "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" | "AWS_REGION" | "AWS_DEFAULT_REGION" |
  "AWS_ENDPOINT_URL" | "AWS_ENDPOINT_URL_KMS" | "AWS_USE_FIPS_ENDPOINT" | "AWS_USE_DUALSTACK_ENDPOINT", string | undefined>>>;

/** Who asks, and where. */
export interface KmsApiConfig {
  readonly endpoint: URL;
  readonly region: string;
  readonly credentials: AwsCredentials;
}

/**
 * What a function's environment says: credentials, and a region whose endpoint has the usual name.
 * @returns undefined where the AWS SDK knows better: other sources of credentials, other endpoints (FIPS, dual stack, isolated regions)
 */
export function kmsApiConfig(env: KmsEnvironment, { endpoint, region = env.AWS_REGION ?? env.AWS_DEFAULT_REGION }: { readonly endpoint?: string | undefined; readonly region?: string | undefined }): KmsApiConfig | undefined {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = env;
  if (!accessKeyId || !secretAccessKey || region === undefined || !usualRegion.test(region)) return undefined;
  if (endpoint === undefined && (env.AWS_ENDPOINT_URL || env.AWS_ENDPOINT_URL_KMS || env.AWS_USE_FIPS_ENDPOINT || env.AWS_USE_DUALSTACK_ENDPOINT)) return undefined;
  return {
    endpoint: new URL(endpoint ?? `https://kms.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}/`),
    region, credentials: { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) },
  };
}

/**
 * Asks KMS without the AWS SDK, which is more than all else that a cold start loads.
 * @source AWS KMS API Reference; AWS JSON 1.1 protocol of Smithy
 */
export function kmsApi({ endpoint, region, credentials }: KmsApiConfig): KmsApi {
  return {
    async call(operation, input, signal) {
      const members = Object.entries(input).map(([name, value]) => [name, value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value]);
      const body = JSON.stringify(Object.fromEntries(members));
      const { status, text } = await send(endpoint, sign(endpoint, operation, body, region, credentials), body, signal);
      const answer = parse(text);
      if (status === 200) return toOutput(answer);
      // What the error is called is what it is judged by, as with the SDK's.
      throw Object.assign(new Error(String(answer["message"] ?? answer["Message"] ?? "")), {
        name: String(answer["__type"] ?? "UnknownError").split("#").at(-1), $metadata: { httpStatusCode: status },
      });
    },
    close: () => undefined,
  };
}

function sign(endpoint: URL, operation: KmsOperation, body: string, region: string, credentials: AwsCredentials): Record<string, string> {
  const date = awsDate(Date.now());
  const headers = {
    host: endpoint.host, "content-type": "application/x-amz-json-1.1", "x-amz-target": `TrentService.${operation}`, "x-amz-date": date,
    ...(credentials.sessionToken !== undefined && { "x-amz-security-token": credentials.sessionToken }),
  };
  const bodyHash = sha256(Buffer.from(body)).toString("hex");
  return { ...headers, authorization: awsAuthorization({ method: "POST", path: "/", headers, bodyHash }, { region, service: "kms", date }, credentials) };
}

async function send(endpoint: URL, headers: Record<string, string>, body: string, signal: AbortSignal): Promise<{ readonly status: number; readonly text: string }> {
  const isTls = endpoint.protocol === "https:";
  // Loaded where it is spoken.
  const request = isTls ? (await import("node:https")).request : httpRequest;
  const outgoing = request(endpoint, { method: "POST", headers: { ...headers, "content-length": Buffer.byteLength(body) }, agent: false, signal });
  const connecting = setTimeout(() => outgoing.destroy(new Error(`no connection to ${endpoint.host} within ${connectTimeoutMs / 1000} s`)), connectTimeoutMs);
  outgoing.once("socket", (socket) => socket.once(isTls ? "secureConnect" : "connect", () => clearTimeout(connecting)));
  try {
    outgoing.end(body);
    const [response] = await once(outgoing, "response", { signal }) as [IncomingMessage];
    // What comes once the answer is there, such as a reset, is the reader's.
    outgoing.on("error", () => undefined);
    let text = "";
    for await (const chunk of response.setEncoding("utf8") as AsyncIterable<string>) if (text.length < maxAnswerChars) text += chunk;
    return { status: response.statusCode ?? 0, text };
  } finally {
    clearTimeout(connecting);
  }
}

/** What is no JSON is a front end's, and known by its status alone. */
function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function toOutput(answer: Readonly<Record<string, unknown>>): KmsOutput {
  const binary = Object.entries(answer).filter(([name, value]) => binaryMembers.has(name) && typeof value === "string");
  return { ...answer, ...Object.fromEntries(binary.map(([name, value]) => [name, Buffer.from(value as string, "base64")])) };
}

const binaryMembers: ReadonlySet<string> = new Set<keyof KmsOutput>(["PublicKey", "Signature", "Plaintext", "CiphertextBlob"]);
const usualRegion = /^(?!us-iso|eu-iso)[a-z]{2}(-gov)?-[a-z]+-\d$/;
const connectTimeoutMs = 5000;
const maxAnswerChars = 64 * 1024;
