import type { Identity, IdentitySource, Trust } from "../identity/source.ts";
import { grpcCode, type GrpcStatus } from "../../ca/pki/grpc.ts";
import { encodeJwtBundles } from "./jwt-messages.ts";
import { encodeX509Bundles, encodeX509Svids } from "./x509-messages.ts";

/** Methods whose answer is a stream. */
export type StreamedMethod = "FetchX509SVID" | "FetchX509Bundles" | "FetchJWTBundles";
export type UnaryMethod = "FetchJWTSVID" | "ValidateJWTSVID";
/** Methods with an answer; the others of the API are unimplemented. */
export type Method = StreamedMethod | UnaryMethod;
/** A message, or why there is none. */
export type Answer = Uint8Array | GrpcStatus;

/** Whether a method answers again and again, as what it tells of changes. */
export function isStreamed(method: Method): method is StreamedMethod {
  return method !== "FetchJWTSVID" && method !== "ValidateJWTSVID";
}

/** The whole state that a stream of the method has to show now. @param hadIdentity  whether there ever was one: then it is lost, not on its way */
export function streamAnswer(method: StreamedMethod, source: IdentitySource, hadIdentity: boolean): Answer {
  const trust = source.trust();
  if (trust === undefined) return starting;
  if (method === "FetchX509Bundles") return encodeX509Bundles(trust);
  if (method === "FetchJWTBundles") return encodeJwtBundles(trust);
  const present = presentIdentity(source, hadIdentity);
  return "code" in present ? present : encodeX509Svids(present.identity, present.trust);
}

/** Who the app is, as far as anybody may know it. */
export function presentIdentity(source: IdentitySource, hadIdentity: boolean): { readonly identity: Identity; readonly trust: Trust } | GrpcStatus {
  const identity = source.identity();
  const trust = source.trust();
  if (trust === undefined || (identity === undefined && !hadIdentity)) return starting;
  if (identity === undefined) return { code: grpcCode.permissionDenied, message: "the identity has expired and could not be renewed; see /identity of the proxy" };
  if (trust.revoked.has(identity.serialNumber)) return { code: grpcCode.permissionDenied, message: "the identity is revoked" };
  return { identity, trust };
}

export const starting: GrpcStatus = { code: grpcCode.unavailable, message: "there is no identity yet; try again" };
