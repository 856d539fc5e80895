import { hash, randomBytes } from "node:crypto";
import { encodeEntry, type Actor } from "../audit/event.ts";
import type { DenialRecorder } from "../audit/denials.ts";
import type { IssuedIssuer, IssueIssuerRequest } from "../contract/issuers.ts";
import type { CallerRole } from "../contract/roles.ts";
import { decodeCsrText } from "../issuance/csr-text.ts";
import { idempotencyLifetimeMs, recall, type IdempotentRequest } from "../issuance/idempotency.ts";
import { lintFailed } from "../issuance/lint-failed.ts";
import { authorityRevocationInfo } from "../issuance/revocation-info.ts";
import { signCertificate } from "../issuance/sign.ts";
import { lintCertificate } from "../lint/certificate.ts";
import { LintRefusal, type Linted } from "../lint/rule.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { parseCsr, type Csr } from "../pki/csr.ts";
import { PkiError } from "../pki/errors.ts";
import { signatureAlgorithmFor, subjectKeyIdentifier } from "../pki/key.ts";
import { validatePath } from "../pki/path.ts";
import { encodePem } from "../pki/pem.ts";
import { encodeName, encodeTbs } from "../pki/tbs.ts";
import { sha256 } from "../pki/sha256.ts";
import { Refusal } from "../refusal.ts";
import { SignerError } from "../signer/errors.ts";
import type { Signer } from "../signer/signer.ts";
import { StoreError } from "../store/errors.ts";
import type { CertificateRow } from "../store/rows/certificates.ts";
import type { Store } from "../store/store.ts";
import { foreignIssuer, type ForeignIssuer, type NamingRights } from "./foreign-issuer-profile.ts";

/** What signs issuers: the active intermediate, or the root where there is none. */
export interface IssuerSigner {
  readonly id: string;
  readonly certificate: Certificate;
  readonly signer: Signer;
  /** PEM of what stands between the issuer and the root: the intermediate, or nothing. */
  readonly intermediates: string;
}

export interface ForeignIssuerDeps {
  readonly store: Store;
  readonly trustDomain: string;
  /** @throws {Refusal} issuer_unavailable */
  readonly signer: () => IssuerSigner | Promise<IssuerSigner>;
  /** As `IssuerSigner.intermediates`, of any authority there ever was: a retry's certificate may be by one that was replaced since. */
  readonly intermediatesAbove: (authorityId: string) => string;
  /** The roots of our bundle, parsed and as PEM. */
  readonly anchors: () => { readonly certificates: readonly Certificate[]; readonly pem: string };
  readonly keyFingerprints: () => readonly string[];
  readonly nextSerial: (nowMs: number) => Uint8Array;
  readonly denials: DenialRecorder;
  readonly lifetimeMaxMs: number;
  readonly clockSkewMs: number;
  readonly statusUrl: string | undefined;
  readonly now: () => Date;
}

/** Who asks, as the HTTP layer authenticated it. */
export interface IssuerCaller {
  readonly actor: Actor;
  readonly name: string;
  readonly role: CallerRole;
  /** Trust domains an operator may have issuers signed for. */
  readonly issuerScope?: readonly string[];
  /** DNS names an operator may give, or `*.` and what they end in. */
  readonly dnsScope?: readonly string[];
  /** Trust domains whose issuers may give any DNS name, or those of `dnsScope`, and any address. */
  readonly clusterScope?: readonly string[];
  /** Trust domains whose issuers have no URI constraint. */
  readonly unconstrainedScope?: readonly string[];
}

/**
 * Signs subordinate issuers for other CAs, with path length 0. The certificate is in the certificates table with the attestation
 * `issuer`, so it is listed, logged and revoked as every other; its own event says what it may do.
 * @throws {Refusal} forbidden | csr_refused | spiffe_id_refused | dns_name_refused | issuer_refused | lifetime_refused | key_reused |
 *                   idempotency_key_reused | certificate_revoked | issuer_unavailable | lint_failed
 */
export function foreignIssuers(deps: ForeignIssuerDeps) {
  const { store, trustDomain, now, anchors } = deps;

  return async function issueIssuer(request: IssueIssuerRequest, caller: IssuerCaller, idempotencyKey?: string): Promise<IssuedIssuer> {
    checkCaller(caller, request.trustDomain);
    const idempotent = idempotencyKey === undefined ? undefined : idempotentRequest(idempotencyKey, caller.actor, request);
    const earlier = idempotent && (await recall(store, idempotent, now().getTime()));
    if (earlier !== undefined) return answer(earlier);
    const by = await deps.signer();
    const csr = readCsr(request.csr);
    const wanted = foreignIssuer(request, trustDomain, by.certificate.keyAlgorithm, rightsOf(caller, request.trustDomain));
    if (!wanted.keyAlgorithms.includes(csr.keyAlgorithm)) {
      throw new Refusal("csr_refused", `The CSR has a key of ${csr.keyAlgorithm}; an issuer for ${request.profile} has one of ${wanted.keyAlgorithms.join(", ")}.`);
    }
    const row = await sign(csr, wanted, request, by, caller.actor);
    const entries: [string, ...string[]] = [issuedEntry(row, caller.actor), describedEntry(row, wanted, request, caller.actor)];
    try {
      const { logIndex } = await store.commit({
        kind: "issue", certificate: row, entries, ...(idempotent && { idempotency: { ...idempotent, expiresAtMs: row.issuedAtMs + idempotencyLifetimeMs } }),
      });
      return answer({ ...row, logIndex });
    } catch (error) {
      const won = idempotent && error instanceof StoreError ? await recall(store, idempotent, now().getTime()) : undefined;
      if (won !== undefined) return answer(won);
      throw asRefusal(error);
    }
  };

  async function sign(csr: Csr, wanted: ForeignIssuer, request: IssueIssuerRequest, by: IssuerSigner, actor: Actor): Promise<Omit<CertificateRow, "logIndex">> {
    const keyFingerprint = sha256(csr.spki);
    if (deps.keyFingerprints().includes(keyFingerprint.toString("hex"))) {
      throw new Refusal("csr_refused", "The CSR's key is the key of one of this CA's authorities; make a key of your own.");
    }
    const nowMs = now().getTime();
    const serialNumber = deps.nextSerial(nowMs);
    const validity = validityOf(request.lifetimeSeconds, by.certificate, nowMs);
    const tbs = lint({ serialNumber, ...validity }, csr, wanted, by, actor);
    const certificate = await signed(by, tbs);
    // Tried out before anybody relies on it: the root may have constraints of its own.
    try {
      const intermediates = by.intermediates === "" ? [] : [by.certificate];
      validatePath({ leaf: parseCertificate(certificate), intermediates, anchors: anchors().certificates, nowMs });
    } catch (cause) {
      if (!(cause instanceof PkiError)) throw cause;
      throw new Refusal("issuer_refused", `The issuer would not verify below this CA's root (${cause.code}): ${cause.message}.`, { cause });
    }
    return {
      serialNumber: Buffer.from(serialNumber).toString("hex"), spiffeId: `spiffe://${wanted.trustDomain}`, dnsNames: wanted.dnsNames, ...validity,
      authorityId: by.id, attestation: "issuer", certificate, keyFingerprint, issuedAtMs: nowMs,
    };
  }

  async function signed({ signer }: IssuerSigner, tbs: Linted<"certificate">): Promise<Uint8Array> {
    try {
      return await signCertificate(signer, tbs, signatureAlgorithmFor(signer.keyAlgorithm));
    } catch (cause) {
      if (!(cause instanceof SignerError)) throw cause;
      throw new Refusal("issuer_unavailable", "The key that signs issuers does not answer; the CA's readiness and log say why. Try again shortly.", { cause });
    }
  }

  function validityOf(lifetimeSeconds: number | undefined, signer: Certificate, nowMs: number): { readonly notBeforeMs: number; readonly notAfterMs: number } {
    const lifetimeMs = lifetimeSeconds === undefined ? Math.min(defaultLifetimeMs, deps.lifetimeMaxMs) : lifetimeSeconds * 1000;
    if (!Number.isSafeInteger(lifetimeMs) || lifetimeMs < minLifetimeMs || lifetimeMs > deps.lifetimeMaxMs) {
      throw new Refusal("lifetime_refused", `An issuer lives from ${minLifetimeMs / 1000} to ${deps.lifetimeMaxMs / 1000} seconds here (foreignIssuerLifetimeMax).`);
    }
    const secondMs = Math.floor(nowMs / 1000) * 1000;
    const notAfterMs = secondMs + lifetimeMs - 1000;
    if (notAfterMs > signer.notAfterMs) {
      throw new Refusal("lifetime_refused", `What would sign the issuer ends at ${new Date(signer.notAfterMs).toISOString()}, before it; ask for a shorter lifetime.`);
    }
    return { notBeforeMs: Math.max(secondMs - deps.clockSkewMs, signer.notBeforeMs), notAfterMs };
  }

  function lint(
    { serialNumber, notBeforeMs, notAfterMs }: { readonly serialNumber: Uint8Array; readonly notBeforeMs: number; readonly notAfterMs: number },
    { spki }: Csr, wanted: ForeignIssuer, by: IssuerSigner, actor: Actor,
  ): Linted<"certificate"> {
    const { subject, subjectKeyIdentifier: authorityKeyIdentifier } = by.certificate;
    if (authorityKeyIdentifier === undefined) throw new TypeError("a root or intermediate of ours has a subject key identifier");
    const signatureAlgorithm = signatureAlgorithmFor(by.signer.keyAlgorithm);
    const { uris, dnsNames, nameConstraints, commonName, keyAlgorithms } = wanted;
    const revocationInfo = deps.statusUrl === undefined ? {} : authorityRevocationInfo(by.id, deps.statusUrl);
    const keyUsage = ["keyCertSign", "crlSign"] as const;
    const tbs = encodeTbs({
      serialNumber, signatureAlgorithm, issuer: subject, notBeforeMs, notAfterMs, spki,
      subject: encodeName({ organization: "Countersign", commonName, serialNumber: randomBytes(nameNumberBytes).toString("hex") }),
      extensions: {
        basicConstraints: { certificateAuthority: true, pathLength: 0 }, keyUsage, ...(nameConstraints && { nameConstraints }), authorityKeyIdentifier, revocationInfo,
        subjectKeyIdentifier: subjectKeyIdentifier(spki), subjectAltName: { uris, dnsNames },
      },
    });
    try {
      return lintCertificate(tbs, {
        kind: "foreign-issuer", signatureAlgorithm, issuer: by.certificate, trustDomain: wanted.trustDomain,
        limits: { lifetimeMaxMs: deps.lifetimeMaxMs, clockSkewMs: deps.clockSkewMs, keyAlgorithms, names: { dnsNames: undefined, ipRanges: undefined } },
        meant: { serialNumber, notBeforeMs, notAfterMs, spki, uris, dnsNames, ipAddresses: [], keyUsage, extKeyUsage: [], revocationInfo },
      });
    } catch (error) {
      if (error instanceof LintRefusal) deps.denials.record(lintFailed(error, `spiffe://${wanted.trustDomain}`), actor);
      throw error;
    }
  }

  function answer({ serialNumber, spiffeId, notBeforeMs, notAfterMs, certificate, authorityId, logIndex }: CertificateRow): IssuedIssuer {
    return {
      serialNumber, logIndex,
      trustDomain: spiffeId.slice("spiffe://".length),
      notBefore: new Date(notBeforeMs).toISOString(),
      notAfter: new Date(notAfterMs).toISOString(),
      chain: encodePem("CERTIFICATE", certificate) + deps.intermediatesAbove(authorityId),
      anchors: anchors().pem,
    };
  }
}

function rightsOf({ role, dnsScope = [], clusterScope = [], unconstrainedScope = [] }: IssuerCaller, trustDomain: string): NamingRights {
  const isAdmin = role === "admin";
  const isCluster = clusterScope.includes(trustDomain);
  const unconstrained = unconstrainedScope.includes(trustDomain);
  return { dnsScope: isAdmin || (isCluster && dnsScope.length === 0) ? undefined : dnsScope, isCluster, mayLiftUri: isAdmin || unconstrained, liftsUri: unconstrained };
}

/** An admin may have any issuer signed, an operator those its scope names: whoever holds one can name every workload of that domain. */
function checkCaller({ name, role, issuerScope = [] }: IssuerCaller, trustDomain: string): void {
  if (role === "admin" || (role === "operator" && issuerScope.includes(trustDomain))) return;
  throw new Refusal(
    "forbidden",
    `The caller "${name}" may not have issuers signed for ${trustDomain}; ask as an admin, or for a token with the scope issuer:${trustDomain}.`,
  );
}

function idempotentRequest(key: string, actor: Actor, { csr, ...asked }: IssueIssuerRequest): IdempotentRequest {
  const { profile, trustDomain, lifetimeSeconds = null, uriConstraint = null, dnsDomains = null } = asked;
  const requestHash = hash("sha256", JSON.stringify(["issuer", csr, profile, trustDomain, lifetimeSeconds, uriConstraint, dnsDomains]), "hex");
  return { scope: `${actor} issuers`, key, requestHash };
}

function readCsr(text: string): Csr {
  try {
    return parseCsr(decodeCsrText(text));
  } catch (cause) {
    if (cause instanceof PkiError) throw new Refusal("csr_refused", `The CSR is refused: ${cause.message}.`, { cause });
    throw cause;
  }
}

function issuedEntry({ serialNumber, spiffeId, dnsNames, certificate, keyFingerprint, notBeforeMs, notAfterMs, authorityId, issuedAtMs }: Omit<CertificateRow, "logIndex">, actor: Actor): string {
  return encodeEntry(
    {
      type: "certificate.issued", serialNumber, spiffeId, ...(dnsNames.length > 0 && { dnsNames }), fingerprint: hash("sha256", certificate, "hex"),
      keyFingerprint: Buffer.from(keyFingerprint).toString("hex"), notBefore: new Date(notBeforeMs).toISOString(), notAfter: new Date(notAfterMs).toISOString(),
      authorityId, attestation: "issuer",
    },
    actor, issuedAtMs,
  );
}

function describedEntry({ serialNumber, issuedAtMs }: Omit<CertificateRow, "logIndex">, { trustDomain, nameConstraints }: ForeignIssuer, { profile }: IssueIssuerRequest, actor: Actor): string {
  const { uris, dnsNames } = nameConstraints?.permitted ?? {};
  return encodeEntry(
    { type: "issuer.issued", serialNumber, trustDomain, profile, pathLength: 0, ...(uris && { permittedUris: uris }), ...(dnsNames && { permittedDnsNames: dnsNames }) },
    actor, issuedAtMs,
  );
}

function asRefusal(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error;
  if (error.code === "key_reused") return new Refusal("key_reused", "This CA has certified the CSR's key before; make a new key for each issuer.", { cause: error });
  if (error.code === "idempotency_conflict") {
    return new Refusal("idempotency_key_reused", "This Idempotency-Key was taken by another request while this one was under way; choose a new key.", { cause: error });
  }
  if (error.code === "authority_superseded") {
    return new Refusal("issuer_unavailable", "The authority that would have signed was replaced meanwhile; try again.", { cause: error, retryAfterSeconds: 1 });
  }
  return error;
}

const defaultLifetimeMs = 48 * 3_600_000;
const minLifetimeMs = 60_000;
const nameNumberBytes = 8;
