import type { CaConfig } from "./config.ts";
import { ConfigError } from "../settings/errors.ts";

/**
 * Refuses settings that cannot hold together. Lifetimes must nest: nothing may outlive what signed it (spire#1266: certificates silently
 * cut short to fit the CA).
 * @throws {ConfigError} value_refused | contradiction
 */
export function checkTogether(config: CaConfig): void {
  const { certificateLifetimeMs, certificateLifetimeMaxMs, issuerLifetimeMs, issuerRenewBeforeMs, rootLifetimeMs, clockSkewMs } = config;
  if (certificateLifetimeMs < minCertificateLifetimeMs) {
    throw new ConfigError("value_refused", "certificateLifetime is below 1m: proxies could not renew in time; make it longer");
  }
  if (certificateLifetimeMs > certificateLifetimeMaxMs) {
    throw contradiction("certificateLifetime is longer than certificateLifetimeMax: lower the one or raise the other");
  }
  if (issuerRenewBeforeMs <= certificateLifetimeMaxMs + clockSkewMs) {
    throw contradiction(
      "issuerRenewBefore is not longer than certificateLifetimeMax: a certificate issued just before the issuer's replacement " +
        "would outlive its issuer, and this CA never shortens one silently; make issuerRenewBefore at least an hour longer",
    );
  }
  if (issuerLifetimeMs <= issuerRenewBeforeMs) {
    throw contradiction(
      "issuerLifetime is not longer than issuerRenewBefore: each issuer would be replaced at once; raise issuerLifetime",
    );
  }
  if (rootLifetimeMs <= issuerLifetimeMs) {
    throw contradiction(
      "rootLifetime is not longer than issuerLifetime: no issuer would fit; raise rootLifetime",
    );
  }
  if (config.rootActivatePart < config.rootPreparePart) {
    throw contradiction("rootActivateAt comes before rootPrepareAt: a root is prepared first; raise the one or lower the other");
  }
  if (clockSkewMs >= certificateLifetimeMs) throw contradiction("clockSkew is not shorter than certificateLifetime; lower it");
  for (const [key, lifetimeMs] of [["crlLifetime", config.crlLifetimeMs], ["rootCrlLifetime", config.rootCrlLifetimeMs], ["ocspLifetime", config.ocspLifetimeMs]] as const) {
    if (lifetimeMs < minStatusLifetimeMs) throw new ConfigError("value_refused", `${key} is below 1m: others could not fetch the next in time; make it longer`);
  }
  if (config.noRevAvail && certificateLifetimeMaxMs + clockSkewMs >= maxNoRevAvailMs) {
    throw contradiction("noRevAvail is on, and certificateLifetimeMax is not below 7d: only what expires soon may do without revocation; lower the one or turn off the other");
  }
  if (config.jwtSvidLifetimeMs > config.jwtSvidLifetimeMaxMs) throw contradiction("jwtSvidLifetime is longer than jwtSvidLifetimeMax: lower the one or raise the other");
  if (config.jwtSvidLifetimeMs < minJwtSvidLifetimeMs) throw new ConfigError("value_refused", "jwtSvidLifetime is below 1m: it would end on its way between clocks; make it longer");
  if (config.jwtKeyRotationMs < 2 * config.jwtSvidLifetimeMaxMs) {
    throw contradiction("jwtKeyRotation is not twice jwtSvidLifetimeMax: keys would be replaced before what they signed has ended; raise the one or lower the other");
  }
  if (!config.initializes && config.storeUrl.startsWith("sqlite:")) throw contradiction("initialize is off, and the store is a file, which nobody else would make; use Postgres, or leave initialize on");
  const { kind } = config.rootKey;
  if (config.rootCertPath === undefined ? kind === "file" : kind === "software") {
    throw contradiction("rootCert and rootKey belong together: give both, or neither to have a root made");
  }
  if (config.upstream !== undefined && (config.rootCertPath !== undefined || kind !== "software" || config.nextRootKey !== undefined)) {
    throw contradiction("upstreamFile and a root of this CA's own (rootCert, rootKey, nextRootKey) exclude each other: the CA above has the root; drop the one or the others");
  }
  if (config.sealingKmsKey !== undefined && config.sealingKey !== undefined) {
    throw contradiction("sealing by KMS and sealingKey exclude each other: drop one of them");
  }
}

function contradiction(message: string): ConfigError {
  return new ConfigError("contradiction", message);
}

/** A certificate that lives shorter could not be renewed in time. */
export const minCertificateLifetimeMs = 60_000;
/** The CA/Browser Forum's bound for short-lived certificates since March 2026 (BR 1.6.1). */
export const maxNoRevAvailMs = 7 * 86_400_000;
const minStatusLifetimeMs = 60_000;
const minJwtSvidLifetimeMs = 60_000;
