import { unprovedNames } from "./acme/unproved.ts";
import { bundleAcknowledger } from "./attestation/acknowledge.ts";
import { openAttestors } from "./attestation/attestors.ts";
import { httpsFetcher } from "./attestation/fetch.ts";
import { requestVerifier } from "./attestation/signed-request.ts";
import { logCosigner } from "./audit/cosignature.ts";
import { denialRecorder } from "./audit/denials.ts";
import { derivedKey, noteSigner } from "./audit/note-signer.ts";
import { activeRootFingerprint } from "./authority/authorities.ts";
import { authorityCraft } from "./authority/craft.ts";
import { foreignIssuers } from "./authority/foreign-issuers.ts";
import { intermediatesAbove, issuerSigner } from "./authority/issuer-signer.ts";
import { authorityKeeper } from "./authority/keeper.ts";
import { leaseKeeper } from "./authority/lease.ts";
import { authorityOperator } from "./authority/operate.ts";
import { checkOutsideKeys, lookAfterKeys } from "./authority/outside-keys.ts";
import { authoritySigners } from "./authority/signers.ts";
import { summarizeAuthorities } from "./authority/summary.ts";
import { ceremonyWatch } from "./ceremony/due.ts";
import { elapsedClock, issuingClock, type ElapsedClock } from "./clock.ts";
import type { CaConfig } from "./config/config.ts";
import { acceptClock, clockConfirmer, recordConfirmation } from "./confirm-clock.ts";
import type { WebCertificateVitals } from "./contract/vitals.ts";
import { documentPublisher } from "./publishing/publisher.ts";
import { documentKeeper } from "./documents.ts";
import { federationService } from "./federation/federation.ts";
import { memberKeyName } from "./federation/hub-notes.ts";
import { noticeSince } from "./federation/notice.ts";
import { peerAuthenticator } from "./federation/peer-request.ts";
import { federatedPeers, storeWithPeers } from "./federation/peers.ts";
import { witnessName } from "./federation/pin-keys.ts";
import { openFeed, refuseStream, type Feed } from "./feed/feed.ts";
import { nudgingStore } from "./feed/nudging.ts";
import { firstOutsideRoot } from "./first-root.ts";
import { logKeyName, type FirstStart } from "./first-start.ts";
import type { CaServices } from "./http/services.ts";
import { apiCertificate, apiCredentialsOnDemand, noApiCertificate, type ApiCredentials } from "./issuance/api-certificate.ts";
import { certificateIssuer } from "./issuance/issue.ts";
import { jwtSvidIssuer } from "./issuance/jwt-svid.ts";
import { lintRecorder } from "./issuance/lint-failed.ts";
import { profileChoice } from "./issuance/profiles.ts";
import { serialNumbers } from "./issuance/serial.ts";
import { linkerdIdentity, type LinkerdAnswer } from "./linkerd/certify.ts";
import { signingReader } from "./linkerd/signing.ts";
import type { Log } from "./log.ts";
import { caMetrics, type CaMetrics } from "./metrics.ts";
import { onDemand, type OnDemand } from "./on-demand.ts";
import { openCa } from "./open-ca.ts";
import { operatorService } from "./operators.ts";
import { policyService } from "./policy/policies.ts";
import { pruner } from "./pruning.ts";
import { configuredPlace } from "./publishing/place.ts";
import { rateLimits } from "./rate-limits.ts";
import { readinessReader } from "./readiness.ts";
import { replicas } from "./replicas.ts";
import { edgeReaders } from "./reports/edges.ts";
import { proxyReader } from "./reports/proxies.ts";
import { reportReading } from "./reports/reading.ts";
import { reportReceiver } from "./reports/receive.ts";
import { tapService } from "./reports/tap.ts";
import { workloadReader } from "./reports/workloads.ts";
import { certificateRevoker } from "./revocation/revoke.ts";
import { kmsKeyOf } from "./signer/kms-sealing.ts";
import { openKms, type Kms } from "./signer/kms.ts";
import { checkAuthorities } from "./standing-authorities.ts";
import { statusLists } from "./status-lists.ts";
import type { Store } from "./store/store.ts";
import { tokenService } from "./tokens.ts";
import { upstreamService } from "./upstream/upstream.ts";
import { vitalsReader } from "./vitals.ts";

export interface CaDeps {
  readonly config: CaConfig;
  /** Open and not yet unlocked. Closing it is its opener's business, after `close`. */
  readonly store: Store;
  readonly log: Log;
  readonly now?: () => Date;
  /** Against which `now` is held, as the database's clock is; without it a given `now` is only not to be behind the store at the start. */
  readonly elapsedMs?: ElapsedClock;
  /** Where proxies reach this CA; default `config.publicUrl`. For a port chosen by the system. */
  readonly publicUrl?: () => string;
  /** What people know this process by among its replicas; default the address that the configuration has it listen on. */
  readonly address?: () => string;
  readonly metrics?: CaMetrics;
  /** Default: AWS KMS as the configuration has it. Closed with the CA. */
  readonly kms?: Kms;
  /** First start only: called with the admin token before it is committed. */
  readonly saveAdminToken?: (token: string) => void | Promise<void>;
  /** How long a first start waits for the CA above this one; default a minute. */
  readonly patienceMs?: number;
  /** Resolves when the process is asked to end: then the start waits for nobody any more. */
  readonly stopping?: Promise<unknown>;
  /** Of the listener's certificate for other names than the API's. */
  readonly webCertificate?: () => WebCertificateVitals;
  /** For a host that may stand still or end between requests: no timers, no streams and no certificate for a listener; it calls `Ca.onDemand`. */
  readonly onDemand?: boolean;
}

export interface Ca extends CaServices {
  /** What came of the first start; undefined when the store was in use already. */
  readonly firstStart: (FirstStart & { readonly rootFingerprint: string }) | undefined;
  /** C2SP verifier key of the audit log. */
  readonly verifierKey: string;
  /** C2SP verifier key of this CA as a witness of others' logs. */
  readonly witnessKey: string;
  readonly metrics: CaMetrics;
  /** Key and chain for the API's TLS listener. */
  apiCredentials(): ApiCredentials;
  onApiCredentials(listener: (credentials: ApiCredentials) => void): void;
  /** Answers a call of Linkerd's identity protocol; undefined: it is not spoken. */
  readonly linkerd: ((path: string, message: Uint8Array) => Promise<LinkerdAnswer>) | undefined;
  /** Ends every stream of the feed, so that no reader keeps the listener from closing. */
  endWatches(): void;
  /** Called when the bundle changed, or the chains that lead to it. */
  onBundle(listener: () => void): void;
  /** In the place of the timers, where `CaDeps.onDemand` stopped them. */
  readonly onDemand: OnDemand;
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
  const { config, metrics = caMetrics() } = deps;
  const kms = deps.kms ?? openKms({ endpoint: config.kmsEndpoint, region: config.kmsRegion, onCall: metrics.kmsCall });
  try {
    return await startWith({ ...deps, metrics }, kms);
  } catch (error) {
    kms.close();
    throw error;
  }
}

async function startWith(deps: CaDeps & { readonly metrics: CaMetrics }, kms: Kms): Promise<Ca> {
  const { config, log, metrics, now = () => new Date(), onDemand: isOnDemand = false } = deps;
  const [newest] = await deps.store.certificates({ limit: 1, nowMs: 0 });
  const elapsedMs = deps.now === undefined ? elapsedClock : deps.elapsedMs;
  const clock = issuingClock({
    now, elapsedMs, newestMs: newest?.issuedAtMs, clockSkewMs: config.clockSkewMs,
    databaseMs: () => elapsedMs && deps.store.databaseTimeMs(),
  });
  const acceptedDoubt = acceptClock(clock, newest?.issuedAtMs, config, now);
  let feed: Feed | undefined;
  const { sealing, state, first, store: opened } = await openCa({ ...deps, kms, now });
  const fellows = replicas({ store: nudgingStore(opened, () => feed?.nudge()), address: deps.address ?? (() => `${config.listenHost}:${config.listenPort}`), log, now });
  const { store } = fellows;
  if (acceptedDoubt !== undefined) await recordConfirmation(store, { doubt: acceptedDoubt, witnessed: now().toISOString() }, "system", now().getTime());
  const denials = denialRecorder({ store, log, now, onDemand: isOnDemand });
  const lints = lintRecorder({ denials, now });
  const signers = authoritySigners({ sealing, store, kms, pkcs11Pin: config.pkcs11Pin, log, now, onKey: metrics.authorityKey });
  const upstream = config.upstream && upstreamService({ config, invitation: config.upstream, store: { ...store, holdersBehind: (query) => withPeers.holdersBehind(query) }, sealing, metrics, log, now, stopping: deps.stopping, ...(deps.patienceMs !== undefined && { patienceMs: deps.patienceMs }) });
  if ((await store.authorities()).length === 0) {
    await (upstream?.begin(state) ?? lints(() => firstOutsideRoot({ config, store, state, sealing, signers, kms, nowMs: now().getTime() })));
  }
  const { feedEpoch } = state;
  const limits = rateLimits(config, now);
  const documents = documentKeeper({ store, now });
  const publishedSequence = (): number => Number(keeper.current().published.sequence);
  const peers = federatedPeers({ documents, store, trustDomain: config.trustDomain, feedEpoch, limits, now, publishedSequence });
  const withPeers = storeWithPeers(store, peers.behind);
  const ownCraft = authorityCraft({ config, sealing, signers });
  const craft = upstream?.craft(ownCraft) ?? ownCraft;
  const keeper = await authorityKeeper({ store: withPeers, sealing, craft, config, lints, log, metrics, now: clock.now });
  checkAuthorities(config, keeper.current().rows);
  const operateAuthority = authorityOperator({ store: withPeers, keeper, craft, config, lints, metrics, log, now });
  upstream?.attach({ keeper, operate: operateAuthority });
  // On demand, what is due waits for the request that needs it.
  if (!isOnDemand) await lookAfterKeys({ keeper, signers, certificateLifetimeMaxMs: config.certificateLifetimeMaxMs, log, now });

  feed = openFeed({
    store, now, metrics, log, maxWatchers: config.maxWatchers,
    async bundle(sequence) {
      if (Number(keeper.current().published.sequence) < sequence) await keeper.refresh();
      return keeper.current().published;
    },
    async policyChanged(after) {
      const { sequences: { policy, service } } = await documents.refresh();
      return Math.max(policy, service) > after;
    },
    async federation(after) {
      const set = await documents.refresh();
      return Math.max(set.sequences.federation, set.sequences["foreign-bundle"]) > after ? noticeSince(set, after) : undefined;
    },
  });
  const names = { trustDomain: config.trustDomain, reservedDnsNames: new Set(config.apiDnsNames) };
  const bundle = () => keeper.current().everyRoot;
  const operators = operatorService({ documents, store, trustDomain: config.trustDomain, now });
  const signedRequests = requestVerifier({ store, trustDomain: config.trustDomain, bundle: () => keeper.current().published.bundle, now });
  const fetcher = httpsFetcher({ keepAlive: !isOnDemand });
  const attestors = openAttestors(config.attestors, { store, fetch: fetcher.fetch, trustDomain: config.trustDomain, now, onAttested: metrics.attested });
  const issuer = certificateIssuer({
    ...names, attestors, store, hasRole: operators.hasRole, keeper, denials, limits, metrics, now: clock.now, bundle, feedEpoch,
    reattestGraceMs: config.reattestGraceMs, profileOf: profileChoice(config), nextSerial: serialNumbers(),
  });
  const unproved = unprovedNames(now);
  const publicUrl = deps.publicUrl ?? (() => config.publicUrl);
  const rootFingerprint = (): string => activeRootFingerprint(keeper.current().rows);
  const tokens = tokenService({
    ...names, store, now, hasRole: operators.hasRole,
    joinTokenLifetimeMs: config.joinTokenLifetimeMs,
    publicUrl, rootFingerprint,
  });
  const revoke = certificateRevoker({ store, hasRole: operators.hasRole, now, metrics, reattestGraceMs: config.reattestGraceMs });
  const revokeAndTell: typeof revoke = async (...args) => {
    const revocation = await revoke(...args);
    if (!isOnDemand) lists.crls.revoked();
    lists.ocsp.revoked();
    return revocation;
  };
  const chainBehind = (authorityId: string): string => keeper.current().chains.get(authorityId) ?? "";
  const apiDeps = { issuer, keeper, config, log, now };
  const api = isOnDemand ? noApiCertificate() : await apiCertificate(apiDeps);
  const reported = reportReading({ store, now });
  const taps = tapService({ store, now, trustDomain: config.trustDomain });
  const lists = statusLists({ store, sealing, signers, keeper, config, lints, metrics, log, now });
  const pruning = pruner({ store, log, now: clock.now, retentionMs: Math.max(config.certificateRetentionMs, config.reattestGraceMs) });
  const federationLease = leaseKeeper({ store, name: "federation", log });
  const logKey = sealing.unseal(logKeyName, state.sealedLogKey);
  const cosigner = logCosigner({ name: witnessName(config.trustDomain), logPrivateKeyPkcs8: logKey });
  const hubPlace = configuredPlace("federationHub", config, config.federationHubEndpoint, now);
  const publishPlace = configuredPlace("publish", config, config.publishEndpoint, now);
  const publisher = publishPlace && documentPublisher({
    place: publishPlace, bundle: () => keeper.current().published, authorities: () => keeper.current().rows, crls: lists.crls, crlShards: config.crlShards,
    lease: leaseKeeper({ store, name: "publish", log }), log, now,
  });
  const federation = federationService({
    hubPlace, hubSigner: noteSigner(memberKeyName(config.trustDomain), derivedKey(logKey, "countersign federation hub")), feedEpoch,
    cosigner, logKey: state.logVerifierKey,
    documents, store, trustDomain: config.trustDomain, peers, publishedSequence, publicUrl, rootFingerprint, limits, metrics, log, now,
    bundle: () => keeper.current().published, hold: federationLease.hold, settleMs: config.federationSettleMs,
    credentials: isOnDemand ? apiCredentialsOnDemand(apiDeps) : api.current,
    webRoots: config.federationWebRoots === undefined ? undefined : [config.federationWebRoots],
  });
  const ceremonies = ceremonyWatch({ store, rows: () => keeper.current().rows, log, now });
  // Loaded where it is spoken.
  const acme = config.acme && (await import("./acme/server.ts")).acmeServer({
    ...names, config: config.acme, store, publicUrl: deps.publicUrl ?? (() => config.publicUrl), chainBehind, revoke: revokeAndTell, limits, log, now, issueTo: issuer.issueTo,
    onProved(proved) {
      unproved.add(proved);
      metrics.acmeProved(proved.challenge, proved.why === undefined);
    },
  });
  if (!isOnDemand) for (const part of [pruning, keeper, api, lists.crls, federation, ceremonies, upstream, publisher, fellows]) part?.start();

  return {
    trustDomain: config.trustDomain, store, now, metrics, limits,
    firstStart: first && { ...first, rootFingerprint: activeRootFingerprint(keeper.current().rows) },
    verifierKey: state.logVerifierKey,
    witnessKey: cosigner.verifierKey,
    authenticate: tokens.authenticate,
    tokenCaller: tokens.callerOf,
    authenticatePeer: peerAuthenticator({ documents, trustDomain: config.trustDomain, now }),
    async authenticateSigned(authorization, request) {
      const { id, ...certificate } = await signedRequests.verify(authorization, request);
      return { ...(await operators.callerOf(id)), certificate };
    },
    spendSigned: signedRequests.spend,
    operators,
    policies: policyService({ documents, trustDomain: config.trustDomain }),
    federation,
    issue: issuer.issue,
    issueIssuer: foreignIssuers({
      store, denials, now: clock.now, trustDomain: config.trustDomain, lifetimeMaxMs: config.foreignIssuerLifetimeMaxMs, clockSkewMs: config.clockSkewMs, statusUrl: config.statusUrl,
      nextSerial: serialNumbers(),
      signer: () => issuerSigner(keeper.current().rows, signers),
      intermediatesAbove: (id) => intermediatesAbove(keeper.current().rows, id),
      anchors: () => ({ certificates: bundle().x509Authorities, pem: keeper.current().published.pem }),
      keyFingerprints: () => keeper.current().keyFingerprints,
    }),
    issueJwtSvid: jwtSvidIssuer({ ...names, store, keeper, lints, config, hasRole: operators.hasRole, now: clock.now, onIssued: metrics.jwtSvidIssued }),
    revoke: revokeAndTell,
    acme,
    createToken: tokens.create,
    deleteToken: tokens.remove,
    feedEpoch,
    watch: isOnDemand ? async () => { throw refuseStream(); } : feed.watch,
    endWatches() {
      feed.close();
      taps.close();
    },
    acknowledge: bundleAcknowledger({
      ...names, limits, store, now, bundle, published: () => ({ feedEpoch, sequence: Number(keeper.current().published.sequence) }),
    }),
    tap: async (request, { actor }) => {
      if (isOnDemand) throw refuseStream();
      return taps.open(request, actor);
    },
    report: reportReceiver({ ...names, limits, store, now, bundle }),
    ...edgeReaders(reported),
    proxies: proxyReader(reported),
    workloads: workloadReader({ store, now }),
    vitals: vitalsReader({
      sealing: state.wrappedSealingKey === undefined ? { location: "here" } : { location: "kms", keyId: kmsKeyOf(state.wrappedSealingKey) },
      config, store, signers, attestors, acme: config.acme && { config: config.acme, unproved }, rows: () => keeper.current().rows, publicUrl: deps.publicUrl ?? (() => config.publicUrl), upstream: upstream?.status, replicas: fellows.list,
      webCertificate: deps.webCertificate, now,
    }),
    recordDenial: ({ actor, ...denial }) => denials.record({ type: "request.denied", ...denial }, actor),
    crl: lists.crls.current,
    ocsp: lists.ocsp.answer,
    signsAuthorities: (id) => keeper.current().rows.some((row) => row.id === id && (row.type === "root" || row.type === "intermediate")),
    authorityCertificate: (id) => keeper.current().rows.find((row) => row.id === id)?.certificate,
    authorities: () => summarizeAuthorities(keeper.current().rows, withPeers, now().getTime()),
    operateAuthority,
    chainBehind,
    bundle: () => keeper.current().published,
    confirmClock: clockConfirmer({ store, clock, log, now }),
    readiness: readinessReader({ store, state, keeper, clock, signers, ceremonies, upstream, certificateLifetimeMs: config.certificateLifetimeMs, now }),
    linkerd: config.linkerd && linkerdIdentity({ issue: issuer.issue, signing: signingReader(keeper, now), attestor: config.linkerd.attestor, onDenied: metrics.denied, log, now }),
    apiCredentials: api.current,
    onApiCredentials: api.onChange,
    onBundle: keeper.onChange,
    onDemand: onDemand({ store, keeper, crls: lists.crls, federation, upstream, publisher, pruning, denials, ceremonies, checkKeys: () => checkOutsideKeys({ keeper, signers, log }), log }),
    async tick() {
      await keeper.tick();
      await api.tick();
      await lists.crls.tick();
      await federation.tick();
      await upstream?.tick();
      await publisher?.tick();
    },
    async close() {
      feed.close();
      taps.close();
      api.close();
      await publisher?.close();
      await lists.crls.close();
      ceremonies.close();
      await pruning.close();
      kms.close();
      fetcher.close();
      await federation.close();
      await federationLease.close();
      await upstream?.close();
      await keeper.close();
      await fellows.close();
      await denials.close();
    },
  };
}
