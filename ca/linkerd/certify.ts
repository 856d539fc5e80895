import type { IssueContext } from "../issuance/issue.ts";
import type { IssuedCertificate, IssueRequest } from "../contract/certificates.ts";
import { problemStatus, type ProblemCode } from "../contract/problem.ts";
import type { Log } from "../log.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { parseCsr, type Csr } from "../pki/csr.ts";
import { PkiError } from "../pki/errors.ts";
import { grpcCode, type GrpcStatus } from "../pki/grpc.ts";
import { relativeNamesOf } from "../pki/name.ts";
import { nameOid } from "../pki/oid.ts";
import { decodePem } from "../pki/pem.ts";
import { ProtobufError } from "../pki/protobuf.ts";
import { Refusal } from "../refusal.ts";
import { decodeCertifyRequest, encodeCertifyResponse } from "./messages.ts";

export interface LinkerdDeps {
  readonly issue: (request: IssueRequest, context: IssueContext) => Promise<IssuedCertificate>;
  /** PEM of what certificates issued now are presented with. */
  readonly issuers: () => string;
  /** Name of the attestor that judges the proxies' tokens. */
  readonly attestor: string;
  readonly onDenied: (code: ProblemCode) => void;
  readonly log: Log;
}

/** A call's answer: its message, or why there is none. */
export type LinkerdAnswer = Uint8Array | GrpcStatus;

/**
 * Linkerd's identity service: an unmodified linkerd2-proxy gets its certificate by its service-account token. Checks, their order and their codes are Linkerd's,
 * but that a token is FailedPrecondition whatever is wrong with it, and Unavailable is what we cannot do for now; the CSR's signature is verified as well.
 * @returns the answer to one call, by its path
 * @source linkerd2, pkg/identity/service.go; linkerd2-proxy-api, proto/identity.proto
 */
export function linkerdIdentity({ issue, issuers, attestor, onDenied, log }: LinkerdDeps): (path: string, message: Uint8Array) => Promise<LinkerdAnswer> {
  async function certify(message: Uint8Array): Promise<LinkerdAnswer> {
    const { identity, token, csr } = decodeCertifyRequest(message);
    const missing = ([["identity", identity], ["token", token], ["certificate_signing_request", csr]] as const).find(([, value]) => value.length === 0);
    if (missing !== undefined) return { code: grpcCode.invalidArgument, message: `missing ${missing[0]}` };
    const request = parseCsr(csr);
    // As Linkerd's own, which looks at its issuer before it looks at names: nothing is issued that no proxy would take.
    if (isConstrained(issuers())) return { code: grpcCode.failedPrecondition, message: constrained };
    const refusal = csrFault(request, identity);
    if (refusal !== undefined) return { code: grpcCode.failedPrecondition, message: refusal };
    const attestation = { type: "kubernetes", attestor, token: Buffer.from(token).toString("latin1") } as const;
    return answerOf(await issue({ csr: Buffer.from(csr).toString("base64"), attestation }, { linkerdIdentity: identity }));
  }

  return async (path, message) => {
    if (path !== certifyPath) return { code: grpcCode.unimplemented, message: `this endpoint has ${certifyPath}` };
    try {
      return await certify(message);
    } catch (error) {
      if (error instanceof Refusal) onDenied(error.code);
      const status = statusOf(error);
      if (status === undefined) log.error({ err: error }, "a call of Linkerd's identity protocol failed");
      return status ?? { code: grpcCode.internal, message: "a fault of the CA, whose log has it" };
    }
  };
}

/** Names are the token's to give; a CSR that asks for others is somebody's mistake, or worse. */
function csrFault({ dnsSans, uriSans, otherSans, subject }: Csr, identity: string): string | undefined {
  if (dnsSans.length !== 1 || dnsSans[0] !== identity) return "the CSR has to ask for one DNS name, the identity";
  if (uriSans.length + otherSans > 0) return "the CSR asks for names that are not DNS names";
  const commonNames = relativeNamesOf(subject).flat().filter(({ type }) => type === nameOid.commonName);
  return commonNames.every(({ text }) => text === "" || text === identity) ? undefined : "the CSR's common name is not the identity";
}

function answerOf({ chain, notAfter }: IssuedCertificate): LinkerdAnswer {
  const [leaf = new Uint8Array(), ...above] = decodePem(chain, "CERTIFICATE");
  return encodeCertifyResponse({ leaf, intermediates: above, validUntilMs: Date.parse(notAfter) });
}

/** RUSTSEC-2026-0098: rustls-webpki refuses all URI constraints above a leaf with a URI, and the proxy with it. */
function isConstrained(pem: string): boolean {
  return decodePem(pem, "CERTIFICATE").map(parseCertificate)
    .some(({ nameConstraints }) => [nameConstraints?.permitted, nameConstraints?.excluded].some((side) => (side?.uris.length ?? 0) > 0));
}

function statusOf(error: unknown): GrpcStatus | undefined {
  if (error instanceof ProtobufError) return { code: grpcCode.invalidArgument, message: `the request is no CertifyRequest: ${error.message}` };
  if (error instanceof PkiError) return { code: grpcCode.invalidArgument, message: `the certificate_signing_request is refused: ${error.message}` };
  if (!(error instanceof Refusal)) return undefined;
  const { code, message } = error;
  if (code === "rate_limited") return { code: grpcCode.resourceExhausted, message };
  // Linkerd's code for a token review that could not be had.
  if (code === "attestor_unavailable") return { code: grpcCode.internal, message };
  return { code: problemStatus[code] >= 500 ? grpcCode.unavailable : grpcCode.failedPrecondition, message };
}

export const certifyPath = "/io.linkerd.proxy.identity.Identity/Certify";
const constrained = "this CA's issuer has URI name constraints, which Linkerd's proxies do not accept; have it signed without them, as by countersign issuer invite --unconstrained on the CA above";
