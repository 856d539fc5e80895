import { readFile } from "node:fs/promises";
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { request as httpsRequest } from "node:https";
import type { AwsCredentials } from "../../ca/pki/aws-signature.ts";
import type { AwsEnvironment } from "../config-platform.ts";
import { EvidenceError } from "./error.ts";

/**
 * The credentials that AWS gives this workload: of the environment (Lambda), of the container (ECS, EKS Pod Identity), or of the instance (EC2, IMDSv2 only).
 * @throws {EvidenceError}
 * @source AWS SDKs and Tools Reference Guide, "Standardized credential providers"
 */
export async function awsCredentials(env: AwsEnvironment): Promise<AwsCredentials> {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = env;
  if (accessKeyId && secretAccessKey) return { accessKeyId, secretAccessKey, sessionToken: sessionToken || undefined };
  const container = containerUrl(env);
  return container === undefined ? instanceCredentials(env.AWS_EC2_METADATA_SERVICE_ENDPOINT || "http://169.254.169.254") : containerCredentials(container, env);
}

function containerUrl({ AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: relative, AWS_CONTAINER_CREDENTIALS_FULL_URI: full }: AwsEnvironment): URL | undefined {
  if (relative) return new URL(relative, "http://169.254.170.2");
  if (!full) return undefined;
  if (!URL.canParse(full)) throw new EvidenceError("AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL");
  const url = new URL(full);
  // Over plain http to these alone, so that nobody on a network hands out credentials, and gets our token.
  if (url.protocol !== "https:" && !(url.protocol === "http:" && plainHosts.test(url.hostname))) throw new EvidenceError(`AWS_CONTAINER_CREDENTIALS_FULL_URI leads to ${url.host} over ${url.protocol.slice(0, -1)}; that is taken from this host's own agents only`);
  return url;
}

async function containerCredentials(url: URL, { AWS_CONTAINER_AUTHORIZATION_TOKEN: token, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: tokenFile }: AwsEnvironment): Promise<AwsCredentials> {
  const authorization = tokenFile ? await readFile(tokenFile, "utf8").catch(({ code }: NodeJS.ErrnoException) => {
    throw new EvidenceError(`${tokenFile} cannot be read (${code})`);
  }) : token;
  if (authorization !== undefined && !/^[\x21-\x7e ]+$/.test(authorization.trim())) throw new EvidenceError("the container's authorization token is not one line of text");
  return readCredentials(await ask(url, "GET", authorization ? { authorization: authorization.trim() } : {}), url);
}

async function instanceCredentials(endpoint: string): Promise<AwsCredentials> {
  const session = await ask(new URL("/latest/api/token", endpoint), "PUT", { "x-aws-ec2-metadata-token-ttl-seconds": "60" });
  const headers = { "x-aws-ec2-metadata-token": session };
  const folder = new URL("/latest/meta-data/iam/security-credentials/", endpoint);
  const [role = ""] = (await ask(folder, "GET", headers)).split("\n");
  if (!/^[\w+=,.@-]{1,64}$/.test(role)) throw new EvidenceError("the instance has no role");
  const url = new URL(role, folder);
  return readCredentials(await ask(url, "GET", headers), url);
}

function readCredentials(text: string, { host }: URL): AwsCredentials {
  try {
    const { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: sessionToken } = JSON.parse(text) as Record<string, unknown>;
    if (typeof accessKeyId === "string" && typeof secretAccessKey === "string" && typeof sessionToken === "string") return { accessKeyId, secretAccessKey, sessionToken };
  } catch {
    // Without the cause: V8 quotes what it could not parse, and that may be a key.
  }
  throw new EvidenceError(`what ${host} answered are no credentials`);
}

function ask(url: URL, method: "GET" | "PUT", headers: IncomingHttpHeaders): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => reject(new EvidenceError(`${url.host} gives no credentials: ${why}`));
    const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, { method, headers, signal: AbortSignal.timeout(timeoutMs), agent: false }, (response) => {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      response.on("data", (chunk: Buffer) => {
        sizeBytes += chunk.length;
        if (sizeBytes > maxAnswerBytes) response.destroy(new Error("its answer is too long"));
        else chunks.push(chunk);
      });
      response.on("error", ({ message }) => fail(message)).on("end", () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString("utf8"));
        else fail(`it answered ${response.statusCode}`);
      });
    });
    request.on("error", ({ message }) => fail(message)).end();
  });
}

/** @source AWS SDKs and Tools Reference Guide, "Container credential provider": the hosts that SDKs take */
const plainHosts = /^(localhost|127(\.\d{1,3}){3}|\[::1\]|169\.254\.170\.2|169\.254\.170\.23|\[fd00:ec2::23\])$/;
const timeoutMs = 5000;
const maxAnswerBytes = 64 * 1024;
