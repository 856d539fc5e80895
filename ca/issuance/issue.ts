import { hash } from "node:crypto";
import { authenticateClaim, type ClaimDeps } from "../attestation/claim.ts";
import { acknowledgedSequence } from "../attestation/acknowledge.ts";
import type { AttestedIdentity } from "../attestation/identity.ts";
import type { Operator } from "../attestation/operator.ts";
import { reusedKeyName } from "../audit/compare-rows.ts";
import { encodeEntry } from "../audit/event.ts";
import type { DenialRecorder } from "../audit/denials.ts";
import { isoTimes } from "../audit/iso-time.ts";
import type { ActiveIssuer } from "../authority/active-issuer.ts";
import type { AuthorityKeeper } from "../authority/keeper.ts";
import type { IssuedCertificate, IssueRequest } from "../contract/certificates.ts";
import { problemStatus } from "../contract/problem.ts";
import type { CaMetrics } from "../metrics.ts";
import { LintRefusal, type Linted } from "../lint/rule.ts";
import type { RateLimits } from "../rate-limits.ts";
import { parseCsr } from "../pki/csr.ts";
import { PkiError } from "../pki/errors.ts";
import { describeSpki, subjectKeyIdentifier } from "../pki/key.ts";
import { encodePem } from "../pki/pem.ts";
import { sha256 } from "../pki/sha256.ts";
import { Refusal } from "../refusal.ts";
import { StoreError } from "../store/errors.ts";
import type { CertificateRow, NewCertificate } from "../store/rows/certificates.ts";
import type { Store } from "../store/store.ts";
import { decodeCsrText } from "./csr-text.ts";
import { idempotencyLifetimeMs, idempotentRequest, recall, type IdempotentRequest } from "./idempotency.ts";
import { certifiedBefore } from "./key-reuse.ts";
import { lintFailed } from "./lint-failed.ts";
import { authorizeNames, checkIssuerNames, narrowToLinkerd, type NameRules } from "./names.ts";
import { shapedProfile, validityFor, validityUnder, type Profile } from "./profile.ts";
import { checkProfile, type ProfileChoice } from "./profiles.ts";
import { signCertificate } from "./sign.ts";
import type { CertificateFields } from "./template.ts";
import { endOfTurn } from "./turn.ts";

export interface IssuerDeps extends ClaimDeps, NameRules {
  readonly store: Store;
  readonly keeper: AuthorityKeeper;
  readonly profileOf: ProfileChoice;
  /** Of the feed that callers may hold bundles of. */
  readonly feedEpoch: string;
  readonly nextSerial: (nowMs: number) => Uint8Array;
  readonly denials: DenialRecorder;
  readonly metrics: CaMetrics;
  readonly limits: Pick<RateLimits, "workload" | "anonymous">;
}

export interface IssueContext {
  readonly caller?: Operator;
  readonly idempotencyKey?: string;
  /** Linkerd's protocol: the one name of the attested that the certificate is for. */
  readonly linkerdIdentity?: string;
}

export interface CertificateIssuer {
  /** @throws {Refusal} what the attestors, names, csr, lifetime and idempotency rules refuse; issuer_unavailable */
  issue(request: IssueRequest, context: IssueContext): Promise<IssuedCertificate>;
  /** The same path for an identity that was not asked for over the API: the CA's own. Its names are not judged. */
  issueTo(identity: AttestedIdentity, spki: Uint8Array): Promise<IssuedCertificate>;
}

/** The one path that certificates leave by (DESIGN 5). */
export function certificateIssuer(deps: IssuerDeps): CertificateIssuer {
  const { store, keeper, profileOf, nextSerial, denials, metrics, limits, now } = deps;
  const [notBeforeText, notAfterText] = [isoTimes(), isoTimes()];

  async function issue(request: IssueRequest, context: IssueContext): Promise<IssuedCertificate> {
    const startedAtMs = performance.now();
    const attempt: Attempt = { actor: "anonymous" };
    try {
      const issued = await runCycle(request, context, attempt);
      metrics.issued(request.attestation.type, performance.now() - startedAtMs);
      return issued;
    } catch (error) {
      const refusal = asRefusal(error);
      // What is ours to mend is no denial: a full queue, a lost database.
      if (!(refusal instanceof Refusal) || problemStatus[refusal.code] >= 500) throw refusal;
      const excess = attempt.actor === "anonymous" ? limits.anonymous() : undefined;
      if (excess === undefined) recordDenial(refusal, request, attempt);
      throw excess ?? refusal;
    }
  }

  async function runCycle(request: IssueRequest, { caller, idempotencyKey, linkerdIdentity }: IssueContext, attempt: Attempt): Promise<IssuedCertificate> {
    await endOfTurn();
    const csrDer = decodeCsrText(request.csr);

    // 1. Who asks? Nothing is granted yet.
    const claim = await authenticateClaim(deps, request.attestation, csrDer, caller);
    attempt.actor = claim.actor;
    attempt.spiffeId = claim.spiffeId.uri;
    // An API caller was counted when it came in.
    const excess = caller === undefined ? limits.workload(claim.actor) : undefined;
    if (excess !== undefined) throw excess;

    // 2. Asked before? A retry gets what the first attempt got, even if its token is spent by that very attempt.
    const idempotent = idempotencyKey === undefined ? undefined : idempotentRequest(idempotencyKey, claim, request);
    const earlier = idempotent && (await recall(store, idempotent, now().getTime()));
    if (earlier !== undefined) return answerFromRow(earlier);

    try {
      // 3. Which identity does the attestation prove?
      const attested = await claim.attest();
      const identity = linkerdIdentity === undefined ? attested : narrowToLinkerd(attested, linkerdIdentity);

      // 4. May any workload have these names?
      authorizeNames(deps, identity.spiffeId, identity.dnsNames);

      // 5. Does the requester hold the key, and is the key fit?
      const { spki } = parseCsr(csrDer);
      return await certifyByNewest(identity, spki, request, idempotent);
    } catch (error) {
      // Of two attempts at once one wins; the other one finds its token spent or its key taken, by itself.
      const won = idempotent && lostToItself(error) ? await recall(store, idempotent, now().getTime()) : undefined;
      if (won === undefined) throw error;
      return answerFromRow(won);
    }
  }

  /** An issuer that was stopped (tainted, say) while it signed: its signature has not left, and its successor signs instead. */
  async function certifyByNewest(...request: Parameters<typeof certify>): Promise<IssuedCertificate> {
    try {
      return await certify(...request);
    } catch (error) {
      if (!(error instanceof StoreError && error.code === "authority_superseded")) throw error;
      await keeper.refresh();
      return certify(...request);
    }
  }

  async function certify(
    identity: AttestedIdentity, spki: Uint8Array, asked: Omit<IssueRequest, "csr" | "attestation">, idempotent: IdempotentRequest | undefined,
  ): Promise<IssuedCertificate> {
    const keyFingerprint = sha256(spki);
    const keyFingerprintHex = keyFingerprint.toString("hex");
    if (keeper.current().keyFingerprints.includes(keyFingerprintHex)) {
      throw new Refusal("csr_refused", "The CSR's key is the key of one of this CA's authorities; make a key of your own.");
    }

    // 6. Build and lint: what the lint lets through is what is signed. The issuer outlives the certificate or is replaced first.
    const nowMs = now().getTime();
    const profile = shapedProfile(profileOf(identity), identity.shape);
    checkProfile(profile, describeSpki(spki).keyAlgorithm, identity);
    const wanted = validityFor(profile, nowMs, asked.lifetimeSeconds);
    const issuer = await keeper.issuerUntil(wanted.notAfterMs);
    checkIssuerNames(issuer.certificate, identity.dnsNames);
    const { notBeforeMs, notAfterMs } = validityUnder(issuer.certificate, wanted, nowMs);
    const serial = nextSerial(nowMs);
    const keyReused = profile.keyReuse === true && (await certifiedBefore(store, keyFingerprint, spki, identity, nowMs));
    const { spiffeId, dnsNames, ipAddresses, method, actor, redeem, tokenId, attestor, evidence, renewedFrom } = identity;
    const tbs = encodeAndLint(issuer, identity, {
      serialNumber: serial, notBeforeMs, notAfterMs, spki, subjectKeyIdentifier: subjectKeyIdentifier(spki), uri: spiffeId.uri, dnsNames,
      ipAddresses: ipAddresses?.length ? ipAddresses : undefined,
    }, profile);

    // 7. Sign. If we die from here to the commit, the signature was in our memory only and is gone with it.
    const certificate = await signCertificate(issuer.signer, tbs, issuer.signatureAlgorithm);

    // 8. Commit serial, certificate and entry together; the certificate leaves only after that. Members without a value are
    // written as such: V8 takes a microsecond for each spread.
    const serialNumber = Buffer.from(serial).toString("hex");
    const notBefore = notBeforeText(notBeforeMs);
    const notAfter = notAfterText(notAfterMs);
    const held = acknowledgedSequence(asked, { feedEpoch: deps.feedEpoch, sequence: Number(keeper.current().published.sequence) });
    const row: NewCertificate = {
      serialNumber, spiffeId: spiffeId.uri, dnsNames, notBeforeMs, notAfterMs, authorityId: issuer.id, attestation: method, certificate,
      keyFingerprint: keyReused ? reusedKeyName(keyFingerprint, serialNumber) : keyFingerprint,
      issuedAtMs: nowMs, tokenId, attestor, renewedFrom, acknowledgedSequence: held,
    };
    const entry = encodeEntry(
      {
        type: "certificate.issued", serialNumber, spiffeId: spiffeId.uri, dnsNames: dnsNames.length === 0 ? undefined : dnsNames,
        fingerprint: hash("sha256", certificate, "hex"), keyFingerprint: keyFingerprintHex, keyReused: keyReused || undefined,
        notBefore, notAfter, authorityId: issuer.id, attestation: method, attestor, evidence, renewedFrom, profile: profile.name,
      },
      actor, nowMs,
    );
    const { logIndex } = await store.commit({
      kind: "issue", certificate: row, entries: [entry], redeem,
      idempotency: idempotent && { ...idempotent, expiresAtMs: nowMs + idempotencyLifetimeMs },
    });

    metrics.committed();

    // 9. Answer.
    return answer({ serialNumber, spiffeId: spiffeId.uri, notBefore, notAfter, chain: encodePem("CERTIFICATE", certificate) + chainBehind(issuer.id), logIndex });
  }

  /** What breaks a rule is our fault and no denial, and is in the log all the same. */
  function encodeAndLint(issuer: ActiveIssuer, { spiffeId, actor }: AttestedIdentity, fields: CertificateFields, profile: Profile): Linted<"certificate"> {
    try {
      return issuer.encodeAndLint(fields, profile);
    } catch (error) {
      if (error instanceof LintRefusal) denials.record(lintFailed(error, spiffeId.uri), actor);
      throw error;
    }
  }

  function answer(issued: Omit<IssuedCertificate, "bundles" | "bundleSequence" | "feedEpoch">): IssuedCertificate {
    const { bundles, sequence } = keeper.current().published;
    return { ...issued, bundles, bundleSequence: sequence, feedEpoch: deps.feedEpoch };
  }

  function answerFromRow(row: CertificateRow): IssuedCertificate {
    return answer({
      serialNumber: row.serialNumber, spiffeId: row.spiffeId, logIndex: row.logIndex, chain: encodePem("CERTIFICATE", row.certificate) + chainBehind(row.authorityId),
      notBefore: new Date(row.notBeforeMs).toISOString(), notAfter: new Date(row.notAfterMs).toISOString(),
    });
  }

  function chainBehind(authorityId: string): string {
    return keeper.current().chains.get(authorityId) ?? "";
  }

  function recordDenial({ code }: Refusal, { attestation }: IssueRequest, { actor, spiffeId }: Attempt): void {
    denials.record({ type: "certificate.denied", code, attestation: attestation.type, ...(spiffeId !== undefined && { spiffeId }) }, actor);
  }

  return {
    issue,
    async issueTo(identity, spki) {
      const startedAtMs = performance.now();
      const issued = await certifyByNewest(identity, spki, {}, undefined);
      metrics.issued(identity.method, performance.now() - startedAtMs);
      return issued;
    },
  };
}

/** What became known of a request before it was refused, for the audit log. */
interface Attempt {
  actor: string;
  spiffeId?: string;
}

/** Turns what the kernel and the store refuse into the request's refusal; anything else stays what it is. */
function asRefusal(error: unknown): unknown {
  if (error instanceof PkiError) return new Refusal("csr_refused", `The CSR is refused: ${error.message}.`, { cause: error });
  if (!(error instanceof StoreError)) return error;
  switch (error.code) {
    case "key_reused":
      return new Refusal(
        "key_reused",
        "This CA has certified the CSR's key before; make a new key for each certificate, and use an Idempotency-Key " +
          "for retries.",
        { cause: error },
      );
    case "token_already_redeemed":
      return new Refusal(
        "token_already_redeemed",
        "The join token was redeemed by another request while this one was under way; ask for a new one.",
        { cause: error },
      );
    case "idempotency_conflict":
      return new Refusal(
        "idempotency_key_reused",
        "This Idempotency-Key was taken by another request while this one was under way; choose a new key.",
        { cause: error },
      );
    case "certificate_revoked":
      return new Refusal(
        "certificate_revoked",
        "The certificate that proved who asks was revoked while the request was under way; ask the CA's operator for a new " +
          "join token.",
        { cause: error },
      );
    case "token_unknown":
      return new Refusal(
        "token_unknown",
        "The join token was deleted while the request was under way; ask for a new one.",
        { cause: error },
      );
    default:
      return error;
  }
}

/** Refusals that a concurrent attempt of the same request can cause. */
function lostToItself(error: unknown): boolean {
  if (error instanceof StoreError) return lostCodes.includes(error.code);
  return error instanceof Refusal && error.code === "token_already_redeemed";
}

const lostCodes: readonly StoreError["code"][] = ["idempotency_conflict", "key_reused", "token_already_redeemed"];
