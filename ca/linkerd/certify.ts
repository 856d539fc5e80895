import type { IssueContext } from "../issuance/issue.ts";
import type { IssuedCertificate, IssueRequest } from "../contract/certificates.ts";
import type { ProblemCode } from "../contract/problem.ts";
import type { Log } from "../log.ts";
import { parseCsr, type Csr } from "../pki/csr.ts";
import { grpcCode, type GrpcStatus } from "../pki/grpc.ts";
import { relativeNamesOf } from "../pki/name.ts";
import { nameOid } from "../pki/oid.ts";
import { decodePem } from "../pki/pem.ts";
import { Refusal } from "../refusal.ts";
import { issuerFault } from "./issuer-fault.ts";
import { decodeCertifyRequest, encodeCertifyResponse } from "./messages.ts";
import type { Signing } from "./signing.ts";
import { statusOf } from "./status.ts";

export interface LinkerdDeps {
  readonly issue: (request: IssueRequest, context: IssueContext) => Promise<IssuedCertificate>;
  /** What signs now, replaced before where it has ended and that can be done; undefined: there is nothing that signs. */
  readonly signing: () => Promise<Signing | undefined>;
  /** Name of the attestor that judges the proxies' tokens. */
  readonly attestor: string;
  readonly onDenied: (code: ProblemCode) => void;
  readonly log: Log;
  readonly now: () => Date;
}

/** A call's answer: its message, or why there is none. */
export type LinkerdAnswer = Uint8Array | GrpcStatus;

/**
 * Linkerd's identity service: an unmodified linkerd2-proxy gets its certificate by its service-account token. Checks, their order and their codes are Linkerd's.
 * Beyond them the CSR's signature is verified, with what else makes it no CSR, and keys other than ECDSA P-256 are refused, once the token is known.
 * @returns the answer to one call, by its path
 * @source linkerd2, pkg/identity/service.go; linkerd2-proxy-api, proto/identity.proto
 */
export function linkerdIdentity({ issue, signing, attestor, onDenied, log, now }: LinkerdDeps): (path: string, message: Uint8Array) => Promise<LinkerdAnswer> {
  async function certify(message: Uint8Array): Promise<LinkerdAnswer> {
    const signs = await signing();
    if (signs === undefined) return { code: grpcCode.unavailable, message: "this CA has no issuer yet; its log and countersign check say why" };
    const { identity, token, csr } = decodeCertifyRequest(message);
    const missing = ([["identity", identity], ["token", token], ["certificate_signing_request", csr]] as const).find(([, value]) => value.length === 0);
    if (missing !== undefined) return { code: grpcCode.invalidArgument, message: `missing ${missing[0]}` };
    const request = parseCsr(csr);
    const fault = issuerFault(signs, now().getTime());
    if (fault !== undefined) return { code: grpcCode.unknown, message: `this CA's issuer serves no Linkerd proxy: ${fault}` };
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

export const certifyPath = "/io.linkerd.proxy.identity.Identity/Certify";
