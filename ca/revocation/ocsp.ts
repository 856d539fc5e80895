import type { LintRecorder } from "../issuance/lint-failed.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { signatureAlgorithmFor } from "../pki/key.ts";
import { isIssuedBy, parseOcspRequest, type OcspCertId, type OcspRequest } from "../pki/ocsp-request.ts";
import { encodeOcspError, encodeOcspResponse, encodeOcspResponseData, type ocspErrors, type OcspStatus } from "../pki/ocsp-response.ts";
import type { Signer } from "../signer/signer.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { CertificateRow } from "../store/rows/certificates.ts";
import type { Store } from "../store/store.ts";
import { lintOcspResponse } from "../lint/ocsp.ts";
import { ocspBudget } from "./ocsp-budget.ts";

/** An OCSP response, and until when it may be kept; an answer that is an error, or only to this very request, has no times. */
export interface OcspAnswer {
  readonly der: Uint8Array;
  readonly thisUpdateMs?: number;
  readonly nextUpdateMs?: number;
}

export interface OcspResponder {
  /**
   * Answers whatever it is asked, with an OCSP error where it has no other answer.
   * @param address  whose share of the work it is
   */
  answer(request: Uint8Array, address: string): Promise<OcspAnswer>;
  /** Something was revoked here: what was looked up before counts no more. */
  revoked(): void;
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
 * Tells the status of certificates as it is in the store, or was within the last second. A signed answer is used again while the status
 * is the same, so that what many ask about is signed once. Everybody may ask, over plain HTTP: what costs nothing comes first, then what
 * strangers may have (`ocsp-budget.ts`), and only then the database and the key.
 * @source RFC 6960, RFC 9919 (the profile of RFC 5019), RFC 9654
 */
export function ocspResponder({ store, authorities, signerOf, ocspLifetimeMs, lints, metrics, log, now }: OcspResponderDeps): OcspResponder {
  const signed = answers(maxSignedAnswers);
  // Apart: nobody pushes answers out of memory with serial numbers of their own making.
  const unknown = answers(maxUnknownAnswers);
  let issuers: { readonly rows: readonly AuthorityRow[]; readonly parsed: readonly Issuer[] } = { rows: [], parsed: [] };
  const budget = ocspBudget(now);
  let generation = 0;

  function issuerOf(certId: OcspCertId): Issuer | undefined {
    const rows = authorities();
    if (rows !== issuers.rows) {
      const answering = rows.filter(({ type, state }) => type === "issuer" && state !== "prepared" && state !== "retired");
      issuers = { rows, parsed: answering.map((row) => ({ row, certificate: parseCertificate(row.certificate) })) };
    }
    return issuers.parsed.find(({ certificate }) => certificate.notAfterMs >= now().getTime() && isIssuedBy(certId, certificate));
  }

  async function respond(request: OcspRequest, address: string): Promise<OcspAnswer> {
    const { certIds, nonce } = request;
    const [first] = certIds;
    const issuer = first && issuerOf(first);
    // One signature is by one issuer's word; of certificates by others we know nothing (RFC 5019 section 2.2.3).
    if (issuer === undefined || !certIds.every((certId) => isIssuedBy(certId, issuer.certificate))) return failed("unauthorized");
    const key = certIds.length === 1 && nonce === undefined ? Buffer.from(first!.encoded).toString("latin1") : undefined;
    const known = key === undefined ? undefined : signed.get(key) ?? unknown.get(key);
    const lookedAtMs = now().getTime();
    if (known !== undefined && known.generation === generation && isYoung(known) && Math.abs(lookedAtMs - known.lookedAtMs) < lookedUpMs) return counted(known, [known.status]);
    if (!(key === undefined ? budget.takeOwn(address, certIds.length) : budget.takeCommon(address))) return failed("tryLater");
    // Before the look: what is revoked meanwhile makes it old.
    const lookedUp = { generation, lookedAtMs };
    const statuses: OcspStatus[] = [];
    for (const { serialNumber } of certIds) statuses.push(statusOf(await store.certificate(serialNumber), issuer.row.id, now().getTime()));
    const status = statuses[0]!;
    const made = known !== undefined && isSame(known.status, status) && isYoung(known) ? known : await lints(() => sign(request, statuses, issuer));
    if (key === undefined) return counted({ der: made.der }, statuses);
    const { der, thisUpdateMs, nextUpdateMs } = made;
    unknown.delete(key);
    (status.kind === "unknown" ? unknown : signed).keep(key, { der, thisUpdateMs, nextUpdateMs, status, ...lookedUp });
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

  function counted(answer: OcspAnswer, statuses: readonly OcspStatus[]): OcspAnswer {
    for (const { kind } of statuses) metrics.ocspAnswered(kind);
    return { der: answer.der, ...(answer.nextUpdateMs !== undefined && { thisUpdateMs: answer.thisUpdateMs!, nextUpdateMs: answer.nextUpdateMs }) };
  }

  function failed(error: keyof typeof ocspErrors): OcspAnswer {
    metrics.ocspAnswered(error);
    return { der: encodeOcspError(error) };
  }

  return {
    async answer(der, address) {
      let request: OcspRequest;
      try {
        request = parseOcspRequest(der);
      } catch (error) {
        if (!(error instanceof PkiError)) throw error;
        return failed("malformedRequest");
      }
      try {
        return await respond(request, address);
      } catch (err) {
        log.warn({ err }, "an OCSP request could not be answered");
        return failed("tryLater");
      }
    },
    revoked: () => void (generation += 1),
  };
}

function answers(maxCount: number) {
  const kept = new Map<string, SignedAnswer>();
  return {
    get: (key: string) => kept.get(key),
    delete: (key: string) => void kept.delete(key),
    keep(key: string, answer: SignedAnswer): void {
      const [oldest] = kept.size >= maxCount ? kept.keys() : [];
      if (oldest !== undefined) kept.delete(oldest);
      kept.delete(key);
      kept.set(key, answer);
    },
  };
}

function isSame(one: OcspStatus, other: OcspStatus): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
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
  readonly status: OcspStatus;
  /** When and after how many revocations here the status was looked up. */
  readonly lookedAtMs: number;
  readonly generation: number;
}

/** Of some 900 bytes each. */
const maxSignedAnswers = 10_000;
const maxUnknownAnswers = 500;
/** How old what we know may be: as old as a revocation by another replica may be when proxies hear of it. */
const lookedUpMs = 1000;
