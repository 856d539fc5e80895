import { TokenFault } from "../attestation/token-fault.ts";
import { problemStatus } from "../contract/problem.ts";
import { PkiError } from "../pki/errors.ts";
import { grpcCode, type GrpcStatus } from "../pki/grpc.ts";
import { ProtobufError } from "../pki/protobuf.ts";
import { Refusal } from "../refusal.ts";

/**
 * How a call ends that failed, in Linkerd's codes. Of what Linkerd does not know, too many calls are ResourceExhausted, and what is for us to mend
 * and may be tried again as it is, such as a database that does not answer, is Unavailable.
 * @returns undefined: a fault of ours, which signing that fails is as well, and so Internal; the log should have it
 * @source linkerd2, pkg/identity/service.go
 */
export function statusOf(error: unknown): GrpcStatus | undefined {
  if (error instanceof ProtobufError) return { code: grpcCode.invalidArgument, message: `the request is no CertifyRequest: ${error.message}` };
  if (error instanceof PkiError) return { code: grpcCode.invalidArgument, message: `the certificate_signing_request is refused: ${error.message}` };
  if (error instanceof TokenFault) return { code: grpcCode.invalidArgument, message: error.message };
  if (!(error instanceof Refusal)) return undefined;
  const { code, message } = error;
  if (code === "rate_limited") return { code: grpcCode.resourceExhausted, message };
  // A review that could not be had, and a certificate that may not be signed.
  if (code === "attestor_unavailable" || code === "lint_failed") return { code: grpcCode.internal, message };
  return { code: problemStatus[code] >= 500 ? grpcCode.unavailable : grpcCode.failedPrecondition, message };
}
