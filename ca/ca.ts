import { bundleAcknowledger } from "./attestation/acknowledge.ts";
import { authorityKeeper } from "./authority/keeper.ts";
import { AuthorityError } from "./authority/errors.ts";
import { readRoot } from "./authority/import-root.ts";
import { summarizeAuthority } from "./authority/summary.ts";
import { denialRecorder } from "./audit/denials.ts";
import type { CaConfig } from "./config.ts";
import { firstStart, logKeyName, logOrigin, readRootFile, type FirstStart } from "./first-start.ts";
import type { CaServices } from "./http/services.ts";
import { apiCertificate, type ApiCredentials } from "./issuance/api-certificate.ts";
import { certificateIssuer } from "./issuance/issue.ts";
import { workloadProfile } from "./issuance/profile.ts";
import { serialNumbers } from "./issuance/serial.ts";
import type { Log } from "./log.ts";
import { caMetrics, type CaMetrics } from "./metrics.ts";
import { parseCertificate } from "./pki/certificate.ts";
import { rateLimits } from "./rate-limits.ts";
import { certificateRevoker } from "./revocation/revoke.ts";
import { loadSealing, type Sealing } from "./signer/sealing.ts";
import type { AuthorityRow, CaState, Store } from "./store/store.ts";
import { tokenService } from "./tokens.ts";

export interface CaDeps {
  readonly config: CaConfig;
  /** Open and not yet unlocked. Closing it is its opener's business, after `close`. */
  readonly store: Store;
  readonly log: Log;
  readonly now?: () => Date;
  /** Where proxies reach this CA; default `config.publicUrl`. For a port chosen by the system. */
  readonly publicUrl?: () => string;
  readonly metrics?: CaMetrics;
  /** First start only: called with the admin token before it is committed. */
  readonly saveAdminToken?: (token: string) => void | Promise<void>;
}

export interface Ca extends CaServices {
  /** What came of the first start; undefined when the store was in use already. */
  readonly firstStart: FirstStart | undefined;
  /** C2SP verifier key of the audit log. */
  readonly verifierKey: string;
  readonly metrics: CaMetrics;
  /** Key and chain for the API's TLS listener. */
  apiCredentials(): ApiCredentials;
  onApiCredentials(listener: (credentials: ApiCredentials) => void): void;
  /** Does now what the timers would do in time: rotation, and renewal of the API's certificate. */
  tick(): Promise<void>;
  /** Stops the timers and waits for what is under way. */
  close(): Promise<void>;
}

/**
 * Starts the CA on a store: fills an empty one, resumes any other.
 * @throws {SignerError} sealing_key_* | sealed_* | key_file_*
 * @throws {AuthorityError} root_* | trust_domain_changed
 * @throws {StoreError}
 */
export async function startCa(deps: CaDeps): Promise<Ca> {
  const { config, store, log, now = () => new Date(), metrics = caMetrics() } = deps;
  const { sealing, state, first } = await open(deps, now);
  const keeper = await authorityKeeper({ store, sealing, config, log, metrics, now });
  checkConfiguredRoot(config, keeper.current().rows.filter(({ type }) => type === "root").map(({ certificate }) => certificate));
  await keeper.tick();

  const denials = denialRecorder({ store, log, now });
  const limits = rateLimits(config, now);
  const names = { trustDomain: config.trustDomain, reservedDnsNames: new Set(config.apiDnsNames) };
  const bundle = () => keeper.current().published.bundle;
  const issuer = certificateIssuer({
    ...names, store, keeper, denials, limits, metrics, now, bundle, feedEpoch: state.feedEpoch,
    reattestGraceMs: config.reattestGraceMs, profile: workloadProfile(config), nextSerial: serialNumbers(),
  });
  const tokens = tokenService({
    ...names, store, now,
    joinTokenLifetimeMs: config.joinTokenLifetimeMs,
    publicUrl: deps.publicUrl ?? (() => config.publicUrl),
    rootFingerprint: () => activeRootFingerprint(keeper.current().rows),
  });
  const api = await apiCertificate({ issuer, keeper, config, log, now });
  keeper.start();
  api.start();

  return {
    trustDomain: config.trustDomain, store, now, metrics, limits,
    firstStart: first,
    verifierKey: state.logVerifierKey,
    authenticate: tokens.authenticate,
    issue: issuer.issue,
    revoke: certificateRevoker({ store, now, metrics, reattestGraceMs: config.reattestGraceMs }),
    createToken: tokens.create,
    deleteToken: tokens.remove,
    acknowledge: bundleAcknowledger({
      ...names, store, now, bundle, published: () => ({ feedEpoch: state.feedEpoch, sequence: Number(keeper.current().published.sequence) }),
    }),
    recordDenial: ({ actor, ...denial }) => denials.record({ type: "request.denied", ...denial }, actor),
    authorities: async () => keeper.current().rows.map(summarizeAuthority),
    bundle: () => keeper.current().published,
    async readiness() {
      const reasons: string[] = [];
      const neededUntilMs = now().getTime() + config.certificateLifetimeMs;
      const active = keeper.current().issuer;
      if (active === undefined) reasons.push("there is no active issuer");
      else if (active.certificate.notAfterMs < neededUntilMs) reasons.push("the issuer ends before a certificate issued now would, and has not been replaced");
      await store.ping().catch(() => reasons.push("the database does not answer"));
      return { ready: reasons.length === 0, reasons };
    },
    apiCredentials: api.current,
    onApiCredentials: api.onChange,
    async tick() {
      await keeper.tick();
      await api.tick();
    },
    async close() {
      api.close();
      await keeper.close();
      await denials.close();
    },
  };
}

/** Fills an empty store or opens what is in it; either way the log can be written afterwards. */
async function open({ config, store, saveAdminToken }: CaDeps, now: () => Date): Promise<{ sealing: Sealing; state: CaState; first: FirstStart | undefined }> {
  const existing = await store.state();
  const sealing = loadSealing(config, { create: existing === undefined });
  const first = existing === undefined
    ? await firstStart({ config, store, sealing, nowMs: now().getTime(), ...(saveAdminToken && { saveAdminToken }) })
    : undefined;
  const state = existing ?? (await store.state());
  if (state === undefined) {
    throw new AuthorityError(
      "authority_missing",
      "the store was filled and is empty again; look at the database",
    );
  }
  if (state.trustDomain !== config.trustDomain) {
    throw new AuthorityError(
      "trust_domain_changed",
      `this store belongs to the trust domain ${state.trustDomain} and cannot serve ${config.trustDomain}: every certificate carries it; ` +
        `set trustDomain back, or start a new CA with a store of its own`,
    );
  }
  // Also after losing the race for the first start: the log is the winner's, and so is its key.
  if (first === undefined) await store.unlock({ origin: logOrigin(state.trustDomain), privateKeyPkcs8: sealing.unseal(logKeyName, state.sealedLogKey) });
  return { sealing, state, first };
}

/** What a new proxy pins: the root below which the API's certificate is, too. */
function activeRootFingerprint(authorities: readonly AuthorityRow[]): string {
  const root = authorities.find(({ type, state }) => type === "root" && state === "active");
  if (root === undefined) {
    throw new AuthorityError(
      "authority_missing",
      "the store holds no active root; restore it from a backup",
    );
  }
  return parseCertificate(root.certificate).fingerprint;
}

/** A root that is configured but not used would be a surprise on the day it matters. */
function checkConfiguredRoot({ rootCertPath }: CaConfig, roots: readonly Uint8Array[]): void {
  if (rootCertPath === undefined) return;
  const { der } = readRoot(readRootFile(rootCertPath));
  if (roots.some((root) => Buffer.compare(root, der) === 0)) return;
  throw new AuthorityError(
    "root_changed",
    `${rootCertPath} is not a root of this CA, which has been running with another one since its first start; remove ` +
      "rootCert and rootKey to go on with it",
  );
}
