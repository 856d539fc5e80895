import { PkiError } from "../../ca/pki/errors.ts";
import { verifyJwtSvid } from "../../ca/pki/jwt-svid.ts";
import { CaError } from "../ca-error.ts";
import type { IdentitySource } from "../identity/source.ts";
import { presentIdentity, starting, type Answer, type UnaryMethod } from "./answers.ts";
import { grpcCode, type GrpcStatus } from "../../ca/pki/grpc.ts";
import { decodeJwtSvidRequest, decodeValidateRequest, encodeJwtSvids, encodeValidated } from "./jwt-messages.ts";
import type { JwtSvids } from "./jwt-svids.ts";
import { ProtobufError } from "../../ca/pki/protobuf.ts";

export interface JwtCallsDeps {
  readonly source: IdentitySource;
  readonly jwtSvids: JwtSvids;
  readonly now: () => number;
}

/** Answers FetchJWTSVID and ValidateJWTSVID. @source SPIFFE Workload API sections 6.2.1 and 6.2.3 */
export function jwtCalls({ source, jwtSvids, now }: JwtCallsDeps) {
  async function fetchSvid(message: Uint8Array, hadIdentity: boolean): Promise<Answer> {
    const { audience, spiffeId } = decodeJwtSvidRequest(message);
    const fault = audienceFault(audience);
    if (fault !== undefined) return invalid(fault);
    const present = presentIdentity(source, hadIdentity);
    if ("code" in present) return present;
    const { identity } = present;
    if (spiffeId !== "" && spiffeId !== identity.id.uri) {
      return { code: grpcCode.permissionDenied, message: `this endpoint has the identity ${identity.id.uri} only` };
    }
    return encodeJwtSvids(identity.id.uri, await jwtSvids.fetch(audience, identity));
  }

  function validate(message: Uint8Array): Answer {
    const { audience, token } = decodeValidateRequest(message);
    if (audience === "" || token === "") return invalid("audience and svid are needed");
    const trust = source.trust();
    if (trust === undefined) return starting;
    const { id, claims } = verifyJwtSvid({ token, audience, bundles: trust.bundles, nowMs: now() });
    return encodeValidated(id.uri, claims);
  }

  return {
    /** @throws what nobody foresaw */
    async answer(method: UnaryMethod, message: Uint8Array, hadIdentity: boolean): Promise<Answer> {
      try {
        return method === "FetchJWTSVID" ? await fetchSvid(message, hadIdentity) : validate(message);
      } catch (error) {
        if (error instanceof PkiError) return invalid(error.message);
        if (error instanceof ProtobufError) return invalid(`the request is no message of this API: ${error.message}`);
        if (error instanceof CaError) return statusOf(error);
        throw error;
      }
    },
  };
}

/** As the CA would refuse it, before it is asked. */
function audienceFault(audience: readonly string[]): string | undefined {
  if (audience.length === 0) return "audience is needed";
  if (audience.length > maxAudiences) return `more than ${maxAudiences} audiences`;
  if (new Set(audience).size !== audience.length) return "an audience is named twice";
  return audience.every((name) => audienceForm.test(name)) ? undefined : "an audience is 1 to 255 printable characters of ASCII without spaces";
}

/** What the CA says is for the app's log as well: whether to try again is what matters. */
function statusOf({ code, problemCode, message }: CaError): GrpcStatus {
  // A request whose answer was lost is sent again, and is good once: the next one is signed anew.
  const isDefinite = code === "ca_refused" && problemCode !== "proof_refused";
  return { code: isDefinite ? grpcCode.permissionDenied : grpcCode.unavailable, message: headerText(`no token from the CA: ${message}`) };
}

function invalid(detail: string): GrpcStatus {
  return { code: grpcCode.invalidArgument, message: headerText(detail) };
}

/** It goes into a header as it is: without a percent sign, which gRPC would decode. */
function headerText(text: string): string {
  return text.replaceAll(/[^\x20-\x24\x26-\x7e]+/g, " ").slice(0, maxMessageLength);
}

const audienceForm = /^[\x21-\x7e]{1,255}$/;
/** The CA's own bound. */
const maxAudiences = 8;
const maxMessageLength = 300;
