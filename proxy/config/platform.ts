import { readFileSync } from "node:fs";
import { sha256 } from "../../ca/pki/sha256.ts";
import { PkiError } from "../../ca/pki/errors.ts";
import { decodePem } from "../../ca/pki/pem.ts";
import { parseTrustDomain } from "../../ca/pki/spiffe-id.ts";
import type { SettingKey } from "./table.ts";
import { refused, type Settings } from "./sources.ts";

/** Where the CA is and by what it is known, for a workload whose platform vouches for it; stands in place of a bootstrap string. */
export interface PlatformConfig {
  /** `https://host:port` */
  readonly caUrl: string;
  readonly trustDomain: string;
  /** SHA-256 of the DER of each, lower-case hex; at least one. */
  readonly rootFingerprints: readonly string[];
  /** By its name at the CA; undefined: it has one of the type. */
  readonly attestor: string | undefined;
  readonly evidence: EvidenceConfig;
}

/** What the platform gives, and where. All of it is read anew each time. */
export type EvidenceConfig =
  | { readonly type: "kubernetes" | "oidc"; readonly tokenFile: string }
  | { readonly type: "x509"; readonly certFile: string; readonly keyFile: string }
  | { readonly type: "aws-iam"; readonly region: string; readonly endpoint: string | undefined; readonly environment: AwsEnvironment };

/** What AWS's platforms put into the environment. May hold secrets. */
export type AwsEnvironment = Readonly<Record<(typeof awsVariables)[number], string | undefined>>;

/**
 * Reads who vouches for this workload.
 * @returns undefined: a join token does
 * @throws {ConfigError} value_refused
 */
export function readPlatform({ text, list }: Pick<Settings, "text" | "list">, env: Readonly<Record<string, string | undefined>>): PlatformConfig | undefined {
  const type = text("attest");
  const given = (keys: readonly SettingKey[]): SettingKey | undefined => keys.find((key) => (list(key)?.length ?? 0) > 0);
  if (type !== "kubernetes" && type !== "oidc" && type !== "x509" && type !== "aws-iam") {
    const stray = given([...placeSettings, ...Object.values(evidenceSettings).flat()]);
    if (stray !== undefined) throw refused(stray, undefined, "the bootstrap string says it all; with a platform that vouches, set attest too");
    return undefined;
  }
  const token = given(["bootstrap", "bootstrapFile"]);
  if (token !== undefined) throw refused(token, undefined, `attest is ${type}, so there is no join token; set one of the two`);
  const stray = given(Object.values(evidenceSettings).flat().filter((key) => !evidenceSettings[type].includes(key)));
  if (stray !== undefined) throw refused(stray, undefined, `it says nothing with attest ${type}; that has ${evidenceSettings[type].join(", ")}`);

  const needed = (key: SettingKey, hint: string): string => text(key) ?? fail(key, hint);
  return {
    caUrl: readCaUrl(needed("ca", "name the CA, e.g. https://countersign.countersign.svc:8443")),
    trustDomain: readTrustDomain(needed("trustDomain", "name the CA's trust domain")),
    rootFingerprints: readRoots(list("root") ?? []), attestor: text("attestor"), evidence: evidence(),
  };

  function evidence(): EvidenceConfig {
    switch (type) {
      case "x509": return { type, certFile: needed("certFile", "name the PEM file of the certificate"), keyFile: needed("keyFile", "name the PEM file of its key") };
      case "aws-iam": {
        const region = text("awsRegion") ?? env["AWS_REGION"] ?? env["AWS_DEFAULT_REGION"] ?? fail("awsRegion", "name the region whose STS the CA asks, or set AWS_REGION");
        return { type, region, endpoint: text("awsEndpoint"), environment: Object.fromEntries(awsVariables.map((name) => [name, env[name]])) as AwsEnvironment };
      }
      default: {
        const tokenFile = needed("tokenFile", "name the file that the platform keeps the token in");
        if (tokenFile.startsWith("eyJ")) fail("tokenFile", "that is a token, which every process of this machine could now have read; name the file that it is in, and have the platform make another");
        return { type: type as "kubernetes" | "oidc", tokenFile };
      }
    }
  }
}

function readCaUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:" || url.pathname !== "/" || url.search !== "" || url.hash !== "" || url.username !== "") throw refused("ca", text, "write https://host:port");
  return url.origin;
}

function readTrustDomain(text: string): string {
  try {
    return parseTrustDomain(text);
  } catch (cause) {
    throw refused("trustDomain", text, (cause as Error).message);
  }
}

/** Fingerprints as they stand, and those of what is in files. */
function readRoots(entries: readonly string[]): readonly string[] {
  if (entries.length === 0) fail("root", 'name what the CA is known by: a file with its roots ("countersign bundle show -o pem"), or the SHA-256 of one in hex');
  return entries.flatMap((entry) => {
    if (/^[0-9a-fA-F]{64}$/.test(entry)) return entry.toLowerCase();
    try {
      const roots = decodePem(readFileSync(entry, "utf8"), "CERTIFICATE");
      return roots.length > 0 ? roots.map((der) => sha256(der).toString("hex")) : fail("root", `${entry} has no certificate`);
    } catch (cause) {
      if (cause instanceof PkiError) throw refused("root", entry, cause.message);
      const { code } = cause as NodeJS.ErrnoException;
      if (code === undefined || !/^E[A-Z]+$/.test(code)) throw cause;
      throw refused("root", entry, `it is neither a SHA-256 in hex nor a file that can be read (${code})`);
    }
  });
}

function fail(key: SettingKey, hint: string): never {
  throw refused(key, undefined, hint);
}

const placeSettings = ["ca", "trustDomain", "root", "attestor"] as const;
const evidenceSettings: Readonly<Record<EvidenceConfig["type"], readonly SettingKey[]>> = {
  kubernetes: ["tokenFile"], oidc: ["tokenFile"], x509: ["certFile", "keyFile"], "aws-iam": ["awsRegion", "awsEndpoint"],
};
/** @source AWS SDKs and Tools Reference Guide: "Assume role with web identity", "Container credential provider", "IMDS credential provider" */
const awsVariables = [
  "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_ENDPOINT_URL_STS", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
] as const;
