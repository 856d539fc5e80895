import { dirname, join } from "node:path";
import { awsCredentialSource, type AwsEnvironment } from "./aws-credentials.ts";
import type { CaConfig } from "../config/config.ts";
import { openObjectStore, ObjectStoreError, parseBucketUrl, type ObjectContent } from "./object-store.ts";
import { writeAtomically } from "../runtime/write-file.ts";
import { ConfigError } from "../settings/errors.ts";
import { makeFolder } from "../settings/folder.ts";

/** Where documents are put for everybody to read: a folder that a web server shows, or a bucket. */
export interface PublishPlace {
  /** As it was named. */
  readonly where: string;
  /**
   * Puts a document in the place of the one before, whole.
   * @param name  of letters, digits, dots and dashes, maybe with folders
   * @throws {ObjectStoreError}
   */
  put(name: string, body: Uint8Array | string, content: ObjectContent): Promise<void>;
}

export interface PlaceOptions {
  readonly env: AwsEnvironment;
  /** Of the bucket, where it is not AWS's. */
  readonly endpoint?: string | undefined;
  /** PEM: by whom that endpoint is known. */
  readonly roots?: string | undefined;
  readonly now: () => Date;
}

/**
 * Opens a place by name: a folder, or `s3://bucket/prefix`; it calls nobody.
 * @throws {ObjectStoreError} bucket_url_refused
 */
export function openPublishPlace(where: string, { env, endpoint, roots, now }: PlaceOptions): PublishPlace {
  if (!where.startsWith("s3://")) return { where, put: async (name, body) => putFile(where, plain(name), body) };
  const region = env.AWS_REGION || env.AWS_DEFAULT_REGION || (endpoint === undefined ? "" : anyRegion);
  const store = openObjectStore({ ...parseBucketUrl(where), region, endpoint, roots }, { credentials: awsCredentialSource(env), now });
  return { where, put: async (name, body, content) => store.put(plain(name), body, content) };
}

/**
 * Opens the place that a setting names; undefined where it names none.
 * @throws {ConfigError} value_refused
 */
export function configuredPlace(setting: "federationHub" | "publish", config: CaConfig, endpoint: string | undefined, now: () => Date): PublishPlace | undefined {
  const where = config[setting];
  try {
    return where === undefined ? undefined : openPublishPlace(where, { env: config.aws, endpoint, now });
  } catch (cause) {
    if (cause instanceof ObjectStoreError) throw new ConfigError("value_refused", `${setting} is refused: ${cause.message}`, { cause });
    throw cause;
  }
}

/** A name is no way out of the folder. */
function plain(name: string): string {
  if (/^[A-Za-z0-9_-][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/.test(name)) return name;
  throw new ObjectStoreError("bucket_url_refused", `"${name}" is no name of a document`);
}

function putFile(folder: string, name: string, body: Uint8Array | string): void {
  try {
    if (name.includes("/")) makeFolder(dirname(join(folder, name)), 0o777);
    writeAtomically(join(folder, name), body, fileMode);
  } catch (cause) {
    throw new ObjectStoreError("bucket_refused", `cannot write to the folder ${folder} (${(cause as NodeJS.ErrnoException).code}); make it, and let this user write there`, { cause });
  }
}

const fileMode = 0o644;
/** What stores take that have no regions: MinIO by default, and R2 as an alias of its `auto`. */
const anyRegion = "us-east-1";
