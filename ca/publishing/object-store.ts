import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import type { LookupFunction } from "node:net";
import type { AwsCredentialSource } from "./aws-credentials.ts";
import { awsAuthorization, awsDate, type AwsCredentials } from "../pki/aws-signature.ts";
import { sha256 } from "../pki/sha256.ts";

/** Where objects are put: a bucket of S3, or of whatever speaks its protocol. */
export interface ObjectStoreConfig {
  readonly bucket: string;
  /** Before each key; empty, or ending in a slash. */
  readonly prefix: string;
  readonly region: string;
  /**
   * In place of AWS's: an https URL (http for loopback only), with the bucket in its path, as MinIO and R2 have it. Where the bucket is in
   * the host's name: `https://{bucket}.s3.example`.
   */
  readonly endpoint?: string | undefined;
  /** PEM: by whom the endpoint is known, instead of the roots that Node brings along. */
  readonly roots?: string | undefined;
}

export interface ObjectStoreDeps {
  readonly credentials: AwsCredentialSource;
  readonly now: () => Date;
  readonly timeoutMs?: number;
  /** Finds a host's address; default: as the system does. */
  readonly lookup?: LookupFunction;
}

export interface ObjectStore {
  /**
   * Puts an object in the place of the one before. When this resolves, the store has it; if we die before, it has the whole of the one or
   * of the other.
   * @param key   below the prefix
   * @param body  up to 64 MiB
   * @throws {ObjectStoreError}
   */
  put(key: string, body: Uint8Array | string, content: ObjectContent): Promise<void>;
}

export interface ObjectContent {
  readonly type: string;
  /** `Cache-Control`, for whoever reads it over https. */
  readonly cacheControl?: string | undefined;
}

/**
 * `bucket_url_refused`: the bucket, the endpoint or a key is none. `credentials_missing`: AWS's, for this process. `bucket_unreachable`: no
 * answer in time, or a fault over there that passes. `bucket_refused`: it does not take the object.
 */
export type ObjectStoreErrorCode = "bucket_url_refused" | "credentials_missing" | "bucket_unreachable" | "bucket_refused" | "object_too_large";

/** An object was not put. The message names bucket and host, and holds nothing of the credentials. */
export class ObjectStoreError extends Error {
  override readonly name = "ObjectStoreError";
  readonly code: ObjectStoreErrorCode;

  constructor(code: ObjectStoreErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Reads `s3://bucket/prefix`.
 * @throws {ObjectStoreError} bucket_url_refused
 */
export function parseBucketUrl(text: string): Pick<ObjectStoreConfig, "bucket" | "prefix"> {
  const [, bucket, path = ""] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([\x21-\x7e]{0,512}))?$/.exec(text) ?? [];
  if (bucket === undefined) throw new ObjectStoreError("bucket_url_refused", `${text} names no bucket; write s3://bucket or s3://bucket/prefix`);
  const prefix = path.replaceAll(/^\/+|\/+$/g, "");
  return { bucket, prefix: prefix === "" ? "" : `${prefix}/` };
}

/**
 * A bucket to put objects into, each request signed (AWS Signature Version 4), body included.
 * @throws {ObjectStoreError} bucket_url_refused
 * @source Amazon S3 API Reference, PutObject
 */
export function openObjectStore(config: ObjectStoreConfig, { credentials, now, timeoutMs = defaultTimeoutMs, lookup }: ObjectStoreDeps): ObjectStore {
  const { base, path } = addressOf(config);

  return {
    async put(key, body, { type, cacheControl }) {
      const bytes = typeof body === "string" ? Buffer.from(body) : body;
      if (bytes.length > maxObjectBytes) throw new ObjectStoreError("object_too_large", `the object ${key} has ${bytes.length} bytes, the limit is ${maxObjectBytes}`);
      const by = await credentials().catch((cause: unknown) => {
        // Without its message: what a provider could not read may be in it.
        throw new ObjectStoreError("credentials_missing", "there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this process a role", { cause });
      });
      const headers = { "content-type": type, ...(cacheControl !== undefined && { "cache-control": cacheControl }) };
      const signed = sign({ path: `${path}${encodeKey(config.prefix + key)}`, host: base.host, headers, bytes, by, region: config.region, nowMs: now().getTime() });
      const response = await send(base, signed, bytes, { roots: config.roots, timeoutMs, lookup });
      if (response.status === 200) return;
      throw refusal(config, base, response);
    },
  };
}

interface Signed {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

function sign({ path, host, headers, bytes, by, region, nowMs }: {
  readonly path: string; readonly host: string; readonly headers: Readonly<Record<string, string>>; readonly bytes: Uint8Array; readonly by: AwsCredentials; readonly region: string; readonly nowMs: number;
}): Signed {
  const date = awsDate(nowMs);
  const bodyHash = sha256(bytes).toString("hex");
  const all = { ...headers, host, "x-amz-content-sha256": bodyHash, "x-amz-date": date, ...(by.sessionToken !== undefined && { "x-amz-security-token": by.sessionToken }) };
  return { path, headers: { ...all, authorization: awsAuthorization({ method: "PUT", path, headers: all, bodyHash }, { region, service: "s3", date }, by) } };
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly bucketRegion: string | undefined;
}

async function send(base: URL, { path, headers }: Signed, bytes: Uint8Array, { roots, timeoutMs, lookup }: Pick<ObjectStoreConfig, "roots"> & { readonly timeoutMs: number; readonly lookup: LookupFunction | undefined }): Promise<Answer> {
  const signal = AbortSignal.timeout(timeoutMs);
  const options = { method: "PUT", path, headers: { ...headers, "content-length": bytes.length }, agent: false, signal, ...(lookup !== undefined && { lookup }) } as const;
  try {
    const outgoing = base.protocol === "https:" ? (await import("node:https")).request(base, { ...options, ...(roots !== undefined && { ca: roots }) }) : httpRequest(base, options);
    outgoing.end(bytes);
    const [response] = await once(outgoing, "response", { signal }) as [IncomingMessage];
    // What comes once the answer is there, such as a reset, is the reader's.
    outgoing.on("error", () => undefined);
    const region = response.headers["x-amz-bucket-region"];
    return { status: response.statusCode ?? 0, text: await readText(response), bucketRegion: typeof region === "string" && /^[a-z0-9-]{1,32}$/.test(region) ? region : undefined };
  } catch (cause) {
    const { name, code, message } = cause as NodeJS.ErrnoException;
    const why = name === "AbortError" || name === "TimeoutError" ? `nothing within ${timeoutMs / 1000} s` : code ?? message;
    throw new ObjectStoreError("bucket_unreachable", `cannot reach ${base.host} (${why}); nothing is known to have been put`, { cause });
  }
}

/** As much as an error needs; the rest is of no interest. */
async function readText(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response as AsyncIterable<Buffer>) if (text.length < maxAnswerChars) text += chunk.toString("latin1");
  return text;
}

/** @source Amazon S3 API Reference, "Error responses" */
function refusal({ bucket, region }: ObjectStoreConfig, { host }: URL, { status, text, bucketRegion }: Answer): ObjectStoreError {
  const said = /<Code>([A-Za-z0-9]{1,64})<\/Code>/.exec(text)?.[1];
  const what = `${host} does not take objects for the bucket ${bucket} (${said ?? `status ${status}`})`;
  if (bucketRegion !== undefined && bucketRegion !== region) return new ObjectStoreError("bucket_refused", `${what}: it is in ${bucketRegion}, not ${region}; set AWS_REGION`);
  if (status >= 500 || status === 429) return new ObjectStoreError("bucket_unreachable", `${what}; try again`);
  return new ObjectStoreError("bucket_refused", `${what}: ${advice[said ?? ""] ?? "look at the bucket's name and policy, and at the endpoint"}`);
}

function addressOf({ bucket, region, endpoint }: ObjectStoreConfig): { readonly base: URL; readonly path: string } {
  if (!/^[a-z0-9-]{1,32}$/.test(region)) throw new ObjectStoreError("bucket_url_refused", `"${region}" is no region; set AWS_REGION, e.g. eu-central-1`);
  const host = `s3.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
  // A bucket with dots in its name is not what AWS's certificate is for, *.s3.REGION.
  if (endpoint === undefined) return bucket.includes(".") ? { base: new URL(`https://${host}`), path: `/${bucket}/` } : { base: new URL(`https://${bucket}.${host}`), path: "/" };
  const text = endpoint.replace("{bucket}", bucket);
  const base = URL.canParse(text) ? new URL(text) : undefined;
  const isPrivate = base?.protocol === "https:" || (base?.protocol === "http:" && loopbackHosts.includes(base.hostname));
  if (base === undefined || !isPrivate || base.pathname !== "/" || base.search + base.hash + base.username + base.password !== "") {
    throw new ObjectStoreError("bucket_url_refused", `the endpoint ${endpoint} is refused: write https://host or https://{bucket}.host, without path or user (http is for loopback only)`);
  }
  return { base, path: text === endpoint ? `/${bucket}/` : "/" };
}

/** S3 signs what is encoded once, and nothing but RFC 3986's unreserved characters and the slash is left as it is. */
function encodeKey(key: string): string {
  if (key.split("/").some((part) => part === "" || part === "." || part === "..")) throw new ObjectStoreError("bucket_url_refused", `"${key}" is no key of an object`);
  return encodeURIComponent(key).replaceAll("%2F", "/").replaceAll(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

const advice: Readonly<Record<string, string>> = {
  AccessDenied: "these credentials lack s3:PutObject for it",
  InvalidAccessKeyId: "its store does not know these credentials; they are another account's, or of AWS and not of this endpoint",
  ExpiredToken: "these credentials have ended; take new ones",
  SignatureDoesNotMatch: "the secret key is not that of the access key",
  RequestTimeTooSkewed: "this machine's clock is wrong",
  NoSuchBucket: "there is none of that name; make it first",
};
const loopbackHosts = ["127.0.0.1", "[::1]", "localhost"];
const defaultTimeoutMs = 30_000;
/** The full CRL of a million revoked certificates has some 40. */
const maxObjectBytes = 64 * 1024 * 1024;
const maxAnswerChars = 64 * 1024;
