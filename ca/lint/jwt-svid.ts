import { parseJwtSvidInput, type JwtSvidContent } from "../pki/jwt-svid.ts";
import { parseSpiffeId } from "../pki/spiffe-id.ts";
import { failuresOf, LintRefusal, type Linted, type LintFailure, type LintRule } from "./rule.ts";

/** What the token was meant to say, and what the settings allow. */
export interface JwtSvidContext {
  readonly kind: "workload";
  readonly meant: JwtSvidContent;
  readonly trustDomain: string;
  readonly lifetimeMaxMs: number;
}

/** Header and claims, read back from the bytes that will be signed. */
export interface JwtSvidView {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
  readonly sizeBytes: number;
}

/** Rules about a JWT-SVID. */
export const jwtSvidRules: readonly LintRule<JwtSvidView, JwtSvidContext>[] = [
  {
    id: "JW-02", citation: "JWT-SVID 2.1", appliesTo: "all",
    check: ({ header }) => (header["alg"] === "ES256" ? undefined : "its algorithm is not that of our keys"),
  },
  {
    id: "JW-03", citation: "JWT-SVID 2.2, 6.1", appliesTo: "all",
    check: ({ header }, { meant }) => (header["kid"] === meant.keyId ? undefined : "its kid is not that of the key that signs"),
  },
  { id: "JW-04", citation: "JWT-SVID 2.3", appliesTo: "all", check: ({ header }) => (header["typ"] === "JWT" ? undefined : "its typ is not JWT") },
  {
    id: "JW-05", citation: "JWT-SVID 2", appliesTo: "all",
    check: ({ header }) => (Object.keys(header).every((name) => headerMembers.includes(name)) ? undefined : "its header has more than alg, kid and typ"),
  },
  {
    id: "JW-06", citation: "JWT-SVID 3.1", appliesTo: "all",
    check: ({ claims }, { meant, trustDomain }) => {
      if (typeof claims["sub"] !== "string" || claims["sub"] !== meant.spiffeId) return "its subject is not who was meant";
      const id = parseSpiffeId(claims["sub"]);
      if (id.trustDomain !== trustDomain) return "its subject is of another trust domain";
      return id.path === "" ? "its subject is a trust domain, not a workload" : undefined;
    },
  },
  {
    id: "JW-07", citation: "JWT-SVID 3.2", appliesTo: "all",
    check: ({ claims }, { meant }) => {
      const audience: unknown = claims["aud"];
      if (!Array.isArray(audience) || audience.length === 0 || !audience.every((one) => typeof one === "string" && one !== "")) return "it has no audience";
      return audience.length === meant.audience.length && audience.every((one, index) => one === meant.audience[index]) ? undefined : "its audience is another one than meant";
    },
  },
  {
    id: "JW-08", citation: "JWT-SVID 3.3, the setting jwtSvidLifetimeMax", appliesTo: "all",
    check: ({ claims: { exp, iat } }, { meant, lifetimeMaxMs }) => {
      if (!Number.isSafeInteger(exp) || !Number.isSafeInteger(iat)) return "it does not say when it begins and ends, in whole seconds";
      if (exp !== meant.expiresAt || iat !== meant.issuedAt) return "its times are others than meant";
      const lifetimeMs = ((exp as number) - (iat as number)) * 1000;
      return lifetimeMs > 0 && lifetimeMs <= lifetimeMaxMs ? undefined : "it is good for longer than the settings allow, or not at all";
    },
  },
  {
    id: "JW-12", citation: "JWT-SVID 7.1, RFC 7519 4.1.7", appliesTo: "all",
    check: ({ claims: { jti } }, { meant }) => (typeof jti === "string" && jti.length >= minJwtIdLength && jti === meant.jwtId ? undefined : "nothing tells it from the next"),
  },
  {
    id: "JWT-CLAIMS", citation: "what a token of this CA says", appliesTo: "all",
    check: ({ claims }) => (Object.keys(claims).every((name) => claimNames.includes(name)) ? undefined : "it has claims that nobody asked for"),
  },
  {
    id: "JWT-SIZE", citation: "JWT-SVID 5.2: it has to fit into a header", appliesTo: "all",
    check: ({ sizeBytes }) => (sizeBytes > maxInputBytes ? `${sizeBytes} bytes exceed the limit of ${maxInputBytes}` : undefined),
  },
];

/**
 * Judges header and claims of a JWT-SVID that is about to be signed.
 * @returns the bytes to sign
 * @throws {LintRefusal} lint_failed, with every rule that is broken
 */
export function lintJwtSvid(input: string, context: JwtSvidContext): Linted<"jwt-svid"> {
  const bytes = Buffer.from(input, "latin1");
  const failures = judge(input, bytes.length, context);
  if (failures.length > 0) throw new LintRefusal("jwt-svid", context.kind, failures);
  return bytes as Uint8Array as Linted<"jwt-svid">;
}

function judge(input: string, sizeBytes: number, context: JwtSvidContext): readonly LintFailure[] {
  let view: JwtSvidView;
  try {
    view = { ...parseJwtSvidInput(input), sizeBytes };
  } catch (error) {
    return [{ id: "JW-01", citation: "JWT-SVID 1, RFC 7515 7.1", detail: (error as Error).message }];
  }
  return failuresOf(jwtSvidRules, view, context);
}

const headerMembers: readonly string[] = ["alg", "kid", "typ"];
const claimNames: readonly string[] = ["sub", "aud", "exp", "iat", "jti"];
/** 128 bits in base64url. */
const minJwtIdLength = 22;
/** An ID of 2 KiB and eight audiences of 255 characters, in base64url, and the header. */
const maxInputBytes = 7 * 1024;
