import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { idleDays, oldDays, unusedDays } from "../../../ca/check/access.ts";
import { catalogue, type CheckId } from "../../../ca/check/catalogue.ts";
import type { CheckFacts } from "../../../ca/check/facts.ts";
import { judge } from "../../../ca/check/judge.ts";
import { judgeBeforeInstall, type BeforeInstallFacts } from "../../../ca/check/before-install.ts";
import { hashLeaf } from "../../../ca/audit/merkle.ts";
import { checkpointSigner } from "../../../ca/audit/checkpoint.ts";
import { federatedCa, type AuthoritySummary } from "../../../ca/contract/authorities.ts";
import type { HubSummary } from "../../../ca/contract/federation-hubs.ts";
import type { FederationRefresh, FederationSummary } from "../../../ca/contract/federation.ts";
import type { OperatorSummary } from "../../../ca/contract/operators.ts";
import type { ProxySummary } from "../../../ca/contract/proxies.ts";
import type { TokenSummary } from "../../../ca/contract/tokens.ts";
import type { AcmeVitals, AttestorVitals, ReplicaVitals, Vitals, WebCertificateVitals } from "../../../ca/contract/vitals.ts";
import { chainOf, newCsr, startTestCa } from "../../support/running-ca.ts";
import { nameConstraints, testAuthority, uri } from "../../support/test-ca.ts";

/** What a CA and a proxy that are well told: certificates, authorities and vitals are real, the rest is made to go with them. */
let well: CheckFacts;
let other: CheckFacts;
beforeAll(async () => {
  [well, other] = [await factsOf("east"), await factsOf("west")];
});

async function factsOf(trustDomain: string): Promise<CheckFacts> {
  const { ca, admin, clock, close } = await startTestCa({ settings: { trustDomain } });
  try {
    const issued = await ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: `spiffe://${trustDomain}/ns/shop/sa/cart` } }, { caller: { ...admin, scope: [`spiffe://${trustDomain}/*`] } });
    expect(chainOf(issued).length).toBeGreaterThan(1);
    const vitals = await ca.vitals();
    const authorities = await ca.authorities();
    const at = (offsetMs: number): string => new Date(clock.nowMs + offsetMs).toISOString();
    const proxy: ProxySummary = {
      spiffeId: issued.spiffeId, serialNumber: issued.serialNumber, authorityId: authorities.find(({ type }) => type === "issuer")!.id,
      notBefore: issued.notBefore, notAfter: issued.notAfter, reportedAt: at(-900), receivedAt: at(0), version: vitals.version, revocationSequence: 5,
    };
    return {
      nowMs: clock.nowMs, version: vitals.version, readiness: await ca.readiness(), authorities, newestChain: issued.chain, notPermitted: [], bundleSequence: 5n, acmeDirectory: directoryAt(vitals.publicUrl),
      vitals: { ...vitals, attestors: [{ name: "cluster", type: "kubernetes", vouches: true }], acme: { failures: [] }, log: { size: 1, witnessedSize: 1 }, crls: [{ authorityId: proxy.authorityId, list: "full.crl", number: 1, thisUpdate: at(-3_600_000), nextUpdate: at(7_200_000) }] },
      proxies: { proxies: [proxy], truncated: false }, revocations: [], tokens: [token()], operators: [], log: logOf("entry"),
      federation: [{
        trustDomain: "north", profile: "https_spiffe", endpointUrl: "https://north.example/bundle", addedAt: at(0), addedBy: "token:0",
        bundle: { authorities: [{ fingerprint: "00", notAfter: at(86_400_000) }], jwtKeys: 0, refreshHintSeconds: 60, changedAt: at(-86_400_000) },
        refresh: { attemptedAt: at(-200_000), succeededAt: at(-200_000), failures: 0, intervalSeconds: 60 },
      }],
      hubs: {
        key: "countersign.dev/east/hub+0+A",
        hubs: [{
          name: "hub.example", url: "https://hub.example/", key: "hub.example+0+A", addedAt: at(-86_400_000), addedBy: "token:0", list: { sequence: 3, signedAt: at(-3_600_000), members: 9 }, own: "listed",
          refresh: { attemptedAt: at(-90_000), succeededAt: at(-90_000), failures: 0, intervalSeconds: 60 },
        }],
        publication: { where: "s3://fleet/hub", refresh: { attemptedAt: at(-3_600_000), succeededAt: at(-3_600_000), failures: 0, intervalSeconds: 3600 } },
      },
    };
  } finally {
    await close();
  }
}

const token = (more: Partial<TokenSummary> = {}): TokenSummary => (
  { id: "0123456789abcdef", type: "api", name: "ci", role: "admin", createdBy: "token:0", createdAt: new Date().toISOString(), lastUsedAt: new Date().toISOString(), ...more }
);

const operator = (more: Partial<OperatorSummary> = {}): OperatorSummary => (
  { spiffeId: "spiffe://east/ops/alice", role: "admin", createdAt: days(-1), createdBy: "token:0", ...more }
);

const logKey = generateKeyPairSync("ed25519").privateKey;
const signerOf = (key: KeyObject) => checkpointSigner({ origin: "countersign.dev/east/log", privateKeyPkcs8: key.export({ format: "der", type: "pkcs8" }) });
function logOf(body: string): NonNullable<CheckFacts["log"]> {
  const signer = signerOf(logKey);
  const checkpoint = signer.sign(1, hashLeaf(body));
  const entry = { index: 0, body, leafHash: Buffer.from(hashLeaf(body)).toString("base64") };
  return { checkpoint, verifierKey: signer.verifierKey, newest: { entry, proof: { index: 0, size: 1, hashes: [] } }, kept: [{ where: "kept", note: checkpoint, proof: { oldSize: 1, size: 1, hashes: [] } }] };
}

const wrong = (facts: CheckFacts) => judge(facts).filter(({ status }) => status !== "ok").map(({ check, status, hint }) => `${check} ${status}: ${hint}`);
const vitals = (more: Partial<Vitals>): CheckFacts => ({ ...well, vitals: { ...well.vitals!, ...more } });
const beside = (more: Partial<ReplicaVitals>): CheckFacts => {
  const replica: ReplicaVitals = { address: "ca-0:8443", version: well.vitals!.version, startedAt: ms(-90_000), heardAt: ms(-9_000), answers: true, silent: false, leases: ["authority"] };
  return vitals({ replicas: [replica, { ...replica, address: "ca-1:8443", answers: false, leases: [], ...more }] });
};
const store = (more: Partial<Vitals["store"]>): CheckFacts => vitals({ store: { ...well.vitals!.store, ...more } });
const proxy = (more: Partial<ProxySummary>): CheckFacts => ({ ...well, proxies: { truncated: false, proxies: [{ ...well.proxies!.proxies[0]!, ...more }] } });
const peer = (more: Partial<FederationSummary>): CheckFacts => ({ ...well, federation: [{ ...well.federation![0]!, ...more }] });
const hub = (more: Partial<HubSummary>): CheckFacts => ({ ...well, hubs: { ...well.hubs!, hubs: [{ ...well.hubs!.hubs[0]!, ...more }] } });
const published = (refresh: FederationRefresh | undefined): CheckFacts => ({ ...well, hubs: { ...well.hubs!, publication: { where: "s3://fleet/hub", ...(refresh && { refresh }) } } });
const attestor = (more: Partial<AttestorVitals>): CheckFacts => vitals({ attestors: [{ ...well.vitals!.attestors[0]!, ...more }] });
const webCertificate = (more: Partial<WebCertificateVitals>): CheckFacts => vitals({ webCertificate: { names: ["bundle.east.example"], notBefore: days(-60), notAfter: days(30), ...more } });
const directoryAt = (url: string): string => JSON.stringify({ newOrder: `${url}/acme/new-order` });
const acme = (more: Partial<AcmeVitals>): CheckFacts => vitals({ acme: { failures: [], ...more } });
const ms = (offsetMs: number): string => new Date(well.nowMs + offsetMs).toISOString();
const days = (count: number): string => ms(count * 86_400_000);
const changed = (type: AuthoritySummary["type"], more: Partial<AuthoritySummary>): CheckFacts => (
  { ...well, authorities: well.authorities.map((one) => (one.type === type ? { ...one, ...more } : one)) }
);
const of = (type: AuthoritySummary["type"]): AuthoritySummary => well.authorities.find((one) => one.type === type)!;
const added = (...more: readonly AuthoritySummary[]): CheckFacts => ({ ...well, authorities: [...well.authorities, ...more] });

test("a CA that is well has nothing but √, in every category", () => {
  expect(wrong(well)).toEqual([]);
  const looked = new Set(judge(well).map(({ category }) => category));
  expect([...looked]).toEqual(["api", "config", "store", "keys", "authorities", "data plane", "revocation", "attestation", "acme", "federation", "audit log", "access", "clock"]);
});

test("tokens and roles are well up to the ages that the catalogue names, and when they are over", () => {
  for (const [id, days] of [["token-age", oldDays], ["token-used", unusedDays], ["operator-used", idleDays]] as const) expect(catalogue[id].holds).toContain(`${days} days`);
  expect(wrong({
    ...well,
    tokens: [token({ createdAt: days(-99), lastUsedAt: days(-29) }), token({ createdAt: days(-200), expiresAt: days(-1), lastUsedAt: undefined as never }), token({ type: "join", createdAt: days(-90), redeemedAt: days(-89), expiresAt: days(30) })],
    operators: [operator({ createdAt: days(-99) }), operator({ createdAt: days(-500), lastUsedAt: days(-99) })],
  })).toEqual([]);
});

type Case = readonly [what: string, facts: () => CheckFacts, check: CheckId, expected: RegExp];
const cases: readonly Case[] = [
  ["is not ready", () => ({ ...well, readiness: { ready: false, reasons: ["the database does not answer"] } }), "api-ready", /failed: the database does/],
  ["announces trouble", () => ({ ...well, readiness: { ready: true, reasons: [], warnings: ["KMS does not answer"] } }), "api-warnings", /warning: KMS/],
  ["is asked by an operator", () => ({ ...well, notPermitted: ["its vitals"] }), "api-permitted", /warning: your role may not read its vitals.*admin or auditor/],
  ["is of another version than the command", () => ({ ...well, version: "9.9.9" }), "api-version", /warning: .*this is 9\.9\.9/],
  ["has a replica of another version", () => beside({ version: "0.0.1" }), "replica-version", /warning: ca-1:8443 is 0\.0\.1, the one that answers/],
  ["has a replica that fell silent, of whatever version", () => beside({ version: "0.0.1", silent: true, heardAt: ms(-70_000) }), "replica-heard", /warning: ca-1:8443 was last heard of at 20/],
  ["tells proxies elsewhere to ask themselves", () => vitals({ listensBeyondLoopback: true, publicUrl: "https://127.0.0.1:8443" }), "config-public-url", /warning: it is https:\/\/127/],
  ["waits for its database", () => store({ answeredInMs: 1500 }), "store-answers", /warning: it took 1500 ms/],
  ["is older than its database", () => store({ schema: { applied: 5, known: 4 } }), "store-migrated", /warning: .*a newer version/],
  ["lacks a migration", () => store({ schema: { applied: 3, known: 4 } }), "store-migrated", /failed: it has had 3 of 4/],
  ["has a database that may forget", () => store({ durable: false }), "store-durable", /failed: .*fsync/],
  ["has a standby that is late", () => store({ standbys: { count: 2, lag: { seconds: 300, bytes: 2 ** 20 }, missing: [] } }), "store-replication", /warning: the slowest of 2 is 300 s and 1 MiB behind; .*pg_stat_replication/],
  ["has a standby that stands still", () => store({ standbys: { count: 1, lag: { seconds: 0, bytes: 2 ** 25 }, missing: [] } }), "store-replication", /warning: the slowest of 1 is 0 s and 32 MiB behind/],
  ["has a standby that has gone", () => store({ standbys: { count: 0, missing: [{ slot: "b", keptBytes: 2 ** 23 }, { slot: "c", keptBytes: 0 }] } }), "store-replication", /warning: nobody has come for the replication slot b, nor for 1 more, and the database keeps 8 MiB of its log.*start the standby again/],
  ["may not see how far its standbys are", () => store({ standbys: { count: 1, missing: [] } }), "store-replication", /warning: there is 1, and how far behind the CA's role may not see; grant pg_monitor/],
  ["has little room", () => store({ disk: { freeBytes: 3e9, totalBytes: 1e11 } }), "store-disk", /warning: 2861 MiB/],
  ["has no room", () => store({ disk: { freeBytes: 3e7, totalBytes: 1e11 } }), "store-disk", /failed: 28 MiB/],
  ["has a key that does not answer", () => vitals({ keys: [{ authorityId: "0123456789abcdef", location: "kms", trouble: "KMS says AccessDenied" }] }), "key-answers", /failed: KMS says/],
  ["has no active issuer", () => ({ ...proxyFree(), authorities: [of("root")] }), "authority-active", /failed: there is none/],
  ["has a certificate that proxies do not read", () => changed("issuer", { certificate: "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n" }), "authority-algorithm", /failed: proxies do not read/],
  ["has a retiring root that has ended", () => withoutChain(added({ ...of("root"), id: "aa", state: "retiring", notAfter: ms(-5000) })), "authority-valid", /failed: it ended at/],
  ["has a prepared root of the future", () => added({ ...of("root"), id: "aa", state: "prepared", notBefore: ms(60_000) }), "authority-valid", /failed: it begins at/],
  ["has a root near its end without a successor", () => changed("root", { notBefore: days(-90), notAfter: days(10) }), "authority-life", /warning: 10 %.*authority prepare/],
  ["has a root in KMS near its end", () => changed("root", { key: "kms", notBefore: days(-90), notAfter: days(10) }), "authority-life", /warning: 10 %.*ceremony request root/],
  ["has an issuer that was not replaced in time", () => changed("issuer", { notBefore: days(-70), notAfter: days(30) }), "authority-life", /warning: 30 %/],
  ["has an issuer at its very end", () => changed("issuer", { notBefore: days(-95), notAfter: days(5) }), "authority-life", /failed: 5 %/],
  ["issues what one of its roots does not vouch for", () => ({ ...well, newestChain: other.newestChain }), "authority-chain", /failed: the newest certificate does not lead to it/],
  ["has an authority of another trust domain", () => changed("issuer", { certificate: other.authorities.find(({ type }) => type === "issuer")!.certificate }), "authority-names", /failed: it names spiffe:\/\/west, and this is east/],
  ["has issuers that another CA signs without a constraint", () => vitals({ upstream: { url: "https://root", trustDomain: "root", succeededAt: ms(-1000), failures: 0 } }), "upstream-constrained", /warning: it has no URI constraint.*without --unconstrained/],
  ["has not heard the CA above for long", () => {
    const { pem: certificate } = testAuthority({ trustDomain: "east" }).issuer({ extensions: { nameConstraints: nameConstraints({ permitted: [uri("east")] }) } });
    return { ...changed("issuer", { certificate }), vitals: { ...well.vitals!, upstream: { url: "https://root", trustDomain: "root", succeededAt: ms(-400_000), failures: 9, error: "it does not answer" } } };
  }, "upstream-followed", /warning: https:\/\/root was last heard .*it does not answer; this CA's issuer ends at/],
  ["trusts a tainted authority", () => added({ ...of("issuer"), id: "0123456789abcdef", state: "tainted" }), "authority-tainted", /warning: issuer 0123456789ab is; .* revoke 0123456789ab/],
  ["has a holder that does not trust the next root", () => added({
    ...of("root"), id: "0123456789abcdef", state: "prepared",
    waitsFor: { count: 7, holders: [{ spiffeId: "spiffe://east/ns/shop/sa/cart", serialNumber: "07", acknowledgedSequence: "0", notAfter: "" }] },
  }), "convergence-trusted", /warning: it waits for \/ns\/shop\/sa\/cart \(07\) and 6 more/],
  ["has a federated CA that does not have the next root", () => added({
    ...of("root"), id: "0123456789abcdef", state: "prepared",
    waitsFor: { count: 1, holders: [{ spiffeId: "spiffe://west/countersign/ca", serialNumber: federatedCa, acknowledgedSequence: "0", notAfter: "" }] },
  }), "convergence-trusted", /warning: it waits for spiffe:\/\/west\/countersign\/ca \(federated CA\);/],
  ["has no bundle of a trust domain", () => peer({ bundle: undefined as never, refresh: { attemptedAt: ms(0), failures: 3, intervalSeconds: 60, error: "it does not answer" } }), "federation-fresh", /failed: there is none, .*: it does not answer; .*refresh north/],
  ["holds roots that have ended", () => peer({ bundle: { ...well.federation![0]!.bundle!, authorities: [{ fingerprint: "00", notAfter: ms(-1000) }] } }), "federation-fresh", /failed: all its roots have ended/],
  ["has not had a bundle for long", () => peer({ refresh: { attemptedAt: ms(0), succeededAt: ms(-400_000), failures: 5, intervalSeconds: 60, error: "it does not answer" } }), "federation-fresh", /warning: it was last fetched .*the last good one is in force.*it does not answer/],
  ["is federated with a CA that has not answered twice", () => peer({ refresh: { attemptedAt: ms(0), succeededAt: ms(-90_000), failures: 2, intervalSeconds: 60, error: "it does not answer" } }), "federation-fresh", /warning: it was last fetched .*: it does not answer; .*refresh north/],
  ["has not read a hub's list for long", () => hub({ refresh: { attemptedAt: ms(0), succeededAt: ms(-400_000), failures: 4, intervalSeconds: 240, error: "it does not answer" } }), "hub-read", /warning: it was last read .*who was in it then stays: it does not answer/],
  ["never had a hub's list", () => hub({ list: undefined as never, own: undefined as never, refresh: { attemptedAt: ms(0), failures: 1, intervalSeconds: 60, error: "it is signed by another" } }), "hub-read", /failed: it was never had.*signed by another/],
  ["has a member of its hub that says nothing any more", () => peer({ hub: "hub.example", acknowledged: { bundleSequence: "5", at: ms(-400_000_000), vanished: true } }), "federation-heard", /warning: nothing was heard of it by its hub since .*no root of ours waits for it/],
  ["has a hub's list that ended", () => hub({ list: { sequence: 3, signedAt: ms(-8_000_000), validUntil: ms(-1), members: 9 } }), "hub-read", /failed: it ended at .*nobody that came by it is believed.*hub renew/],
  ["has a hub's list that ends soon", () => hub({ list: { sequence: 3, signedAt: ms(-8_000_000), validUntil: ms(2_600_000), members: 9 } }), "hub-read", /warning: it ends at .*hub renew/],
  ["has an old list of a hub, which does not end", () => hub({ list: { sequence: 3, signedAt: ms(-31 * 86_400_000), members: 9 } }), "hub-read", /warning: it was signed at .*could keep a newer one back.*hub renew/],
  ["is in a hub with another's key", () => hub({ own: "other-key" }), "hub-listed", /failed: it has another key/],
  ["publishes for a hub that does not have it", () => hub({ own: "absent" }), "hub-listed", /warning: its list does not have/],
  ["cannot publish for its hub", () => published({ attemptedAt: ms(0), succeededAt: ms(-8_000_000), failures: 9, intervalSeconds: 600, error: "AccessDenied" }), "hub-published", /warning: it was last put into s3:\/\/fleet\/hub .*AccessDenied/],
  ["has never published for its hub", () => published(undefined), "hub-published", /warning: it was never put into s3:\/\/fleet\/hub: nobody has tried/],
  ["was never heard of by a federated CA", () => peer({ apiUrl: "https://north.example", addedAt: ms(-3_600_000) }), "federation-heard", /warning: it has never said so/],
  ["has a federated CA that no longer hears of it", () => peer({ apiUrl: "https://north.example", acknowledged: { bundleSequence: "4", at: ms(-3_600_000) } }), "federation-heard", /warning: ours is 5, and it has 4, as it said/],
  ["has shown its log differently to a witness", () => peer({ witnessKey: "k", cosigned: { size: 5, at: ms(0), error: "it has cosigned another history", contradicts: true } }), "log-cosigned", /failed: it has cosigned another history.*audit verify --witness/],
  ["has not had its log cosigned for long", () => peer({ witnessKey: "k", cosigned: { size: 5, at: ms(-4 * 3_600_000), error: "it is away" } }), "log-cosigned", /warning: .*up to entry 5: it is away/],
  ["has a proxy with a certificate of a stopped issuer", () => proxy({ authorityId: "0123456789abcdef" }), "proxy-chain", /failed: \/ns\/shop\/sa\/cart \(.*\) has one of 0123456789ab/],
  ["has a proxy that has not renewed", () => proxy({ notBefore: ms(-90_000_000), notAfter: ms(10_000_000) }), "proxy-life", /warning: .* ends at/],
  ["has a proxy that has expired", () => proxy({ notBefore: ms(-90_000_000), notAfter: ms(-1000) }), "proxy-life", /failed: .* expired at/],
  ["has a proxy whose clock is wrong", () => proxy({ reportedAt: ms(-25_000) }), "proxy-clock", /warning: .* is 25 s behind/],
  ["has a proxy of another version", () => proxy({ version: "0.0.1" }), "proxy-version", /warning: .* is 0\.0\.1/],
  ["has a proxy that has taken plain text for weeks", () => proxy({ inboundMode: "permissive", startedAt: days(-8) }), "proxy-mode", /warning: \/ns\/shop\/sa\/cart \(.*\) is permissive since \d{4}-/],
  ["has a proxy that has refused nothing for weeks", () => proxy({ inboundMode: "audit", startedAt: days(-8) }), "proxy-mode", /warning: .* is audit since/],
  ["has more proxies than a look shows", () => ({ ...well, proxies: { ...well.proxies!, truncated: true } }), "proxy-list", /warning: only 1 /],
  ["has a proxy that lacks a revocation", () => ({ ...well, revocations: [{ sequence: 6, serialNumber: "07", reason: "keyCompromise", revokedAt: ms(-120_000), notAfter: ms(1e6) }] }), "revocation-lag", /failed: .* stands at 5/],
  ["has a web certificate that has ended", () => webCertificate({ notAfter: ms(-1000) }), "web-certificate", /failed: it ended at .*certbot renew/],
  ["has a web certificate that ends soon", () => webCertificate({ notAfter: days(15) }), "web-certificate", /warning: it ends at/],
  ["has a web certificate that begins later", () => webCertificate({ notBefore: days(1) }), "web-certificate", /failed: it begins at/],
  ["cannot read its renewed web certificate", () => webCertificate({ trouble: "privkey.pem is not its key" }), "web-certificate", /warning: privkey\.pem is not its key; the one before stays in use until/],
  ["has a CRL that has lapsed", () => vitals({ crls: [{ ...well.vitals!.crls[0]!, nextUpdate: ms(-1000) }] }), "crl-fresh", /failed: it was good until/],
  ["has a CRL that is late", () => vitals({ crls: [{ ...well.vitals!.crls[0]!, thisUpdate: ms(-90_000), nextUpdate: ms(10_000) }] }), "crl-fresh", /warning: it ends at/],
  ["cannot ask a cluster about tokens", () => attestor({ trouble: "its API answered 500.", vouches: false }), "attestor-answers", /failed: its API answered 500; until it does/],
  ["has an issuer's keys of yesterday", () => attestor({ trouble: "https://issuer answered 500", vouches: true }), "attestor-answers", /warning: .*; it vouches by the keys/],
  ["believes a PKI whose roots have ended", () => attestor({ type: "x509", notBefore: days(-100), notAfter: days(-1) }), "attestor-anchors", /failed: the last of them ended/],
  ["believes a PKI whose roots end soon", () => attestor({ type: "x509", notBefore: days(-95), notAfter: days(5) }), "attestor-anchors", /warning: the last of them ends at/],
  ["has no ACME directory", () => ({ ...acme({}), acmeDirectory: undefined }), "acme-directory", /failed: there is no answer/],
  ["leads ACME's clients elsewhere", () => ({ ...acme({}), acmeDirectory: directoryAt("https://other.example") }), "acme-directory", /failed: .* leads to https:\/\/other\.example/],
  ["cannot look up names", () => acme({ resolver: "the DNS server 10.0.0.53 does not answer (ETIMEOUT)" }), "acme-resolver", /failed: the DNS server 10\.0\.0\.53/],
  ["cannot read its external accounts", () => acme({ accounts: "The CA cannot read its external accounts (ENOENT); tell its operator." }), "acme-accounts", /failed: .*ENOENT/],
  ["could not have a name proved", () => acme({ failures: [{ name: "web.internal", challenge: "http-01", why: "web.internal does not answer on port 80: ECONNREFUSED.", at: ms(0) }] }), "acme-names", /warning: web\.internal by http-01: .*ECONNREFUSED; look/],
  ["has a log with another entry than was sealed", () => ({ ...well, log: { ...well.log!, newest: { ...well.log!.newest!, entry: { index: 0, body: "forged", leafHash: "" } } } }), "log-verifies", /failed: the proof does not lead/],
  ["has lost the entry under its checkpoint", () => ({ ...well, log: { ...well.log!, newest: undefined } }), "log-verifies", /failed: .*last of them is not there/],
  ["has a log that is sealed with another key", () => ({ ...well, log: { ...well.log!, verifierKey: signerOf(generateKeyPairSync("ed25519").privateKey).verifierKey } }), "log-verifies", /failed: .*sign/],
  ["has a log that is not what was witnessed", () => ({ ...well, log: { ...well.log!, kept: [{ ...well.log!.kept[0]!, note: logOf("another entry").checkpoint }] } }), "log-continues", /failed: two different roots/],
  ["has a log without its checkpoint beside it", () => vitals({ log: { size: 1 } }), "log-witnessed", /warning: there is none/],
  ["has a log shorter than was witnessed", () => vitals({ log: { size: 1, witnessedSize: 2 } }), "log-witnessed", /failed: it is over 2/],
  ["has an old token", () => ({ ...well, tokens: [token({ createdAt: days(-200) })] }), "token-age", /warning: ci \(admin\) is from/],
  ["has an operator's token for everything and ever", () => ({ ...well, tokens: [token({ role: "operator", scope: ["spiffe://east/*"] })] }), "token-scope", /warning: ci \(operator\) has spiffe:\/\/east\/\* for ever/],
  ["has a token that nobody uses", () => ({ ...well, tokens: [token({ createdAt: days(-60), lastUsedAt: days(-50) })] }), "token-used", /warning: ci \(admin\) was last used/],
  ["has a join token that nobody uses", () => ({ ...well, tokens: [token({ type: "join", spiffeId: "spiffe://east/ns/shop/sa/cart", createdAt: days(-60), expiresAt: days(60), lastUsedAt: undefined as never })] }), "token-used", /warning: the join token 0123456789abcdef for \/ns\/shop\/sa\/cart was never used/],
  ["has a role that nobody uses", () => ({ ...well, operators: [operator({ createdAt: days(-200), lastUsedAt: days(-101) })] }), "operator-used", /warning: spiffe:\/\/east\/ops\/alice \(admin\) was last used on/],
  ["has a role that was never used", () => ({ ...well, operators: [operator({ createdAt: days(-101) })] }), "operator-used", /warning: .* was never used; countersign operator remove/],
  ["has a role that many have", () => ({ ...well, operators: [operator({ spiffeId: "spiffe://east/ops/*" })] }), "operator-scope", /warning: whoever is spiffe:\/\/east\/ops\/\* is admin/],
  ["has another time than this machine", () => vitals({ time: ms(-8000) }), "clock-here", /warning: the CA's is 8\.0 s behind/],
  ["has another time than its database", () => store({ clockOffsetMs: 7000 }), "clock-store", /warning: the database's is 7\.0 s ahead/],
];
const withoutChain = (facts: CheckFacts): CheckFacts => ({ ...facts, newestChain: undefined });
const proxyFree = (): CheckFacts => ({ ...well, proxies: { proxies: [], truncated: false } });

test.each(cases)("one that %s is told so, and nothing else", (_, facts, check, expected) => {
  const found = wrong(facts());
  expect(found).toHaveLength(1);
  expect(found[0]).toMatch(new RegExp(`^${check} ${expected.source}`));
});

test("a root near its end with a successor prepared is well", () => {
  const facts = changed("root", { notBefore: days(-90), notAfter: days(10) });
  expect(wrong({ ...facts, authorities: [...facts.authorities, { ...of("root"), id: "aa", state: "prepared" }] })).toEqual([]);
});

test("a key that is offline is not said to be at hand", () => {
  const lines = judge(vitals({ keys: [{ authorityId: of("root").id, location: "offline" }] })).filter(({ check }) => check === "key-answers");
  expect(lines).toMatchObject([{ status: "ok", name: `root ${of("root").id.slice(0, 12)} has its key offline, where only ceremonies see it` }]);
});

test("an issuer of 48 h that has 30 h left is well, and with 10 h left it is not", () => {
  const left = (hours: number) => wrong(changed("issuer", { notBefore: ms((hours - 48) * 3_600_000), notAfter: ms(hours * 3_600_000) }));
  expect([left(30), left(10).length]).toEqual([[], 1]);
});

test("a federated CA that has the newest bundle is well, and so is one that was added just now", () => {
  expect(wrong(peer({ apiUrl: "https://north.example", acknowledged: { bundleSequence: "5", at: ms(-3_600_000) } }))).toEqual([]);
  expect(wrong(peer({ apiUrl: "https://north.example", addedAt: ms(-60_000) }))).toEqual([]);
});

test("a proxy that reported before a revocation does not lag", () => {
  expect(wrong({ ...well, revocations: [{ sequence: 6, serialNumber: "07", reason: "keyCompromise", revokedAt: ms(-1000), notAfter: ms(1e6) }] })).toEqual([]);
});

describe("before an install", () => {
  const ready: BeforeInstallFacts = { nodeVersion: "24.12.0", config: { folder: undefined, listen: undefined, store: undefined, sealing: undefined, attestors: [], acme: [], web: [], clockOffsetMs: 0 } };
  const failing = (facts: BeforeInstallFacts) => judgeBeforeInstall(facts).filter(({ status }) => status !== "ok").map(({ check, status }) => `${check} ${status}`);

  test("a machine that is ready has nothing but √", () => {
    expect(failing(ready)).toEqual([]);
  });

  test.each<[string, BeforeInstallFacts, readonly string[]]>([
    ["an old Node.js", { ...ready, nodeVersion: "24.11.1" }, ["pre-node failed"]],
    ["settings that contradict each other", { ...ready, config: { trouble: "issuerRenewBefore must exceed" } }, ["pre-config failed"]],
    ["a folder of others", { ...ready, config: { ...ready.config, folder: "cannot be written" } as BeforeInstallFacts["config"] }, ["pre-folder failed"]],
    ["an address in use", { ...ready, config: { ...ready.config, listen: "EADDRINUSE" } as BeforeInstallFacts["config"] }, ["pre-listen failed"]],
    ["a database that does not answer", { ...ready, config: { ...ready.config, store: "no answer" } as BeforeInstallFacts["config"] }, ["pre-store failed"]],
    ["a CA's database without its sealing key", { ...ready, config: { ...ready.config, sealing: "is not there" } as BeforeInstallFacts["config"] }, ["pre-sealing failed"]],
    ["an attestor that is not reached", { ...ready, config: { ...ready.config, attestors: ["cluster: no answer"] } as BeforeInstallFacts["config"] }, ["pre-attestors warning"]],
    ["ACME without its DNS server", { ...ready, config: { ...ready.config, acme: ["the DNS server does not answer"] } as BeforeInstallFacts["config"] }, ["pre-acme failed"]],
    ["a web certificate without its key", { ...ready, config: { ...ready.config, web: ["privkey.pem is not there"] } as BeforeInstallFacts["config"] }, ["pre-web failed"]],
    ["a clock that is somewhat off", { ...ready, config: { ...ready.config, clockOffsetMs: -6000 } as BeforeInstallFacts["config"] }, ["pre-clock warning"]],
    ["a clock that is wrong", { ...ready, config: { ...ready.config, clockOffsetMs: 60_000 } as BeforeInstallFacts["config"] }, ["pre-clock failed"]],
  ])("%s is told, and nothing else", (_, facts, expected) => {
    expect(failing(facts)).toEqual(expected);
  });
});

test("every check of the catalogue is broken by a case here, but for the one of reaching the CA", () => {
  const broken = new Set<string>([...cases.map(([, , check]) => check), "pre-node", "pre-config", "pre-folder", "pre-listen", "pre-store", "pre-sealing", "pre-attestors", "pre-acme", "pre-web", "pre-clock", "api-reachable"]);
  expect(Object.keys(catalogue).filter((id) => !broken.has(id))).toEqual([]);
});
