import type { LintRecorder } from "../issuance/lint-failed.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { signatureAlgorithmFor } from "../pki/key.ts";
import { isIssuedBy, parseOcspRequest, type OcspCertId, type OcspRequest } from "../pki/ocsp-request.ts";
import { encodeOcspError, encodeOcspResponse, encodeOcspResponseData, type ocspErrors, type OcspStatus } from "../pki/ocsp-response.ts";
import type { Signer } from "../signer/signer.ts";
import type { AuthorityRow, CertificateRow, Store } from "../store/store.ts";
import { lintOcspResponse } from "../lint/ocsp.ts";

/** An OCSP response, and until when it may be kept; an answer that is an error, or only to this very request, has no times. */
export interface OcspAnswer {
  readonly der: Uint8Array;
  readonly thisUpdateMs?: number;
  readonly nextUpdateMs?: number;
}

export interface OcspResponder {
  /** Answers whatever it is asked, with an OCSP error where it has no other answer. */
  answer(request: Uint8Array): Promise<OcspAnswer>;
}

export interface OcspResponderDeps {
  readonly store: Pick<Store, "certificate">;
  readonly authorities: () => readonly AuthorityRow[];
  readonly signerOf: (issuer: AuthorityRow) => Promise<{ readonly certificate: Certificate; readonly signer: Signer }>;
  readonly ocspLifetimeMs: number;
  readonly lints: LintRecorder;
  readonly metrics: Pick<CaMetrics, "ocspAnswered">;
  readonly log: Log;
  readonly now: () => Date;
}

/**
 * Tells the status of certificates as it is in the store at that moment. A signed answer is used again while the status is the
 * same, so that what many ask about is signed once.
 * @source RFC 6960, RFC 9919 (the profile of RFC 5019), RFC 9654
 */
export function ocspResponder({ store, authorities, signerOf, ocspLifetimeMs, lints, metrics, log, now }: OcspResponderDeps): OcspResponder {
  const signed = new Map<string, SignedAnswer>();
  let issuers: { readonly rows: readonly AuthorityRow[]; readonly parsed: readonly Issuer[] } = { rows: [], parsed: [] };
  let second = { startedAtMs: 0, signatures: 0 };

  function issuerOf(certId: OcspCertId): Issuer | undefined {
    const rows = authorities();
    if (rows !== issuers.rows) {
      const answering = rows.filter(({ type, state }) => type === "issuer" && state !== "prepared" && state !== "retired");
      issuers = { rows, parsed: answering.map((row) => ({ row, certificate: parseCertificate(row.certificate) })) };
    }
    return issuers.parsed.find(({ certificate }) => certificate.notAfterMs >= now().getTime() && isIssuedBy(certId, certificate));
  }

  async function respond(request: OcspRequest): Promise<OcspAnswer> {
    const [first] = request.certIds;
    const issuer = first && issuerOf(first);
    // One signature is by one issuer's word; of certificates by others we know nothing (RFC 5019 section 2.2.3).
    if (issuer === undefined || !request.certIds.every((certId) => isIssuedBy(certId, issuer.certificate))) return failed("unauthorized");
    const statuses: OcspStatus[] = [];
    for (const { serialNumber } of request.certIds) statuses.push(statusOf(await store.certificate(serialNumber), issuer.row.id, now().getTime()));
    const key = request.certIds.length === 1 && request.nonce === undefined ? Buffer.from(first!.encoded).toString("latin1") : undefined;
    const known = key === undefined ? undefined : signed.get(key);
    if (known !== undefined && known.status === JSON.stringify(statuses[0]) && isYoung(known)) return counted(known, statuses);
    if (!takeSignature()) return failed("tryLater");
    const made = await lints(() => sign(request, statuses, issuer));
    if (key === undefined) return counted({ der: made.der }, statuses);
    if (signed.size >= maxSignedAnswers) for (const oldest of signed.keys()) {
      signed.delete(oldest);
      break;
    }
    signed.delete(key);
    signed.set(key, { ...made, status: JSON.stringify(statuses[0]) });
    return counted(made, statuses);
  }

  async function sign({ certIds, nonce }: OcspRequest, statuses: readonly OcspStatus[], { row }: Issuer) {
    const { certificate, signer } = await signerOf(row);
    const producedAtMs = Math.floor(now().getTime() / 1000) * 1000;
    const times = { thisUpdateMs: producedAtMs, nextUpdateMs: Math.min(producedAtMs + ocspLifetimeMs, certificate.notAfterMs) };
    const fields = {
      responderSpki: signer.spki, producedAtMs, nonce,
      responses: certIds.map(({ encoded }, index) => ({ certId: encoded, status: statuses[index]!, ...times })),
    };
    const data = lintOcspResponse(encodeOcspResponseData(fields), fields);
    return { der: encodeOcspResponse(data, signatureAlgorithmFor(signer.keyAlgorithm), await signer.sign(data), certificate.der), ...times };
  }

  /** In the first half of its time, and not from a time that has not come. */
  function isYoung({ thisUpdateMs, nextUpdateMs }: SignedAnswer): boolean {
    const nowMs = now().getTime();
    return thisUpdateMs <= nowMs && nowMs < (thisUpdateMs + nextUpdateMs) / 2;
  }

  /** Each costs as much as a certificate: strangers may not have the whole CPU for it. */
  function takeSignature(): boolean {
    const nowMs = now().getTime();
    if (Math.abs(nowMs - second.startedAtMs) >= 1000) second = { startedAtMs: nowMs, signatures: 0 };
    return ++second.signatures <= maxSignaturesPerSecond;
  }

  function counted(answer: OcspAnswer, statuses: readonly OcspStatus[]): OcspAnswer {
    for (const { kind } of statuses) metrics.ocspAnswered(kind);
    return { der: answer.der, ...(answer.nextUpdateMs !== undefined && { thisUpdateMs: answer.thisUpdateMs!, nextUpdateMs: answer.nextUpdateMs }) };
  }

  function failed(error: keyof typeof ocspErrors): OcspAnswer {
    metrics.ocspAnswered(error);
    return { der: encodeOcspError(error) };
  }

  return {
    async answer(der) {
      let request: OcspRequest;
      try {
        request = parseOcspRequest(der);
      } catch (error) {
        if (!(error instanceof PkiError)) throw error;
        return failed("malformedRequest");
      }
      try {
        return await respond(request);
      } catch (err) {
        log.warn({ err }, "an OCSP request could not be answered");
        return failed("tryLater");
      }
    },
  };
}

/** Never good for what was not issued by this issuer: a forged certificate is no certificate of ours. */
function statusOf(row: CertificateRow | undefined, issuerId: string, nowMs: number): OcspStatus {
  if (row === undefined || row.authorityId !== issuerId) return { kind: "unknown" };
  if (row.revokedAtMs === undefined) return { kind: "good" };
  return { kind: "revoked", revokedAtMs: Math.min(row.revokedAtMs, nowMs), reason: row.revocationReason ?? "unspecified" };
}

interface Issuer {
  readonly row: AuthorityRow;
  readonly certificate: Certificate;
}

interface SignedAnswer extends Required<OcspAnswer> {
  /** As JSON. */
  readonly status: string;
}

/** Of some 900 bytes each. */
const maxSignedAnswers = 10_000;
const maxSignaturesPerSecond = 1000;
