/** What `countersign check` knows to look at: what must hold, and what to do where it does not (`reference.ts` explains them). */
export const catalogue = {
  "api-reachable": { category: "api", holds: "the CA can be reached", remedy: "start it, or name it with --url" },
  "api-ready": { category: "api", holds: "the CA is ready to issue", remedy: "the reasons are those of /readyz; its log says more" },
  "api-warnings": { category: "api", holds: "nothing threatens it", remedy: "it works now and will not for ever: see to that" },
  "api-permitted": { category: "api", holds: "all of it may be looked at", remedy: "call it with the token of an admin or auditor" },
  "api-version": { category: "api", holds: "CA and command line are of one version", remedy: "run the command of the CA's version" },
  "replica-version": { category: "replicas", holds: "every replica is of one version", remedy: "bring the older ones up, one after the other" },
  "replica-heard": {
    category: "replicas", holds: "every replica was heard of within a minute",
    remedy: "look at its process and its way to the database; of one that was killed this is said for ten minutes",
  },
  "config-public-url": {
    category: "config", holds: "proxies elsewhere can follow the CA's public URL",
    remedy: "set publicUrl to what they reach, and apiNames to its host",
  },
  "store-answers": { category: "store", holds: "the database answers at once", remedy: "look at its load, its disk and the network between" },
  "store-migrated": {
    category: "store", holds: "the database's tables are those of this version",
    remedy: "bring all replicas to the newer version",
  },
  "store-durable": {
    category: "store", holds: "what is committed survives a power cut",
    remedy: "in Postgres set fsync, full_page_writes and synchronous_commit to on",
  },
  "store-replication": { category: "store", holds: "the database's standbys keep up", remedy: "look at pg_stat_replication: until they do, a failover loses acts" },
  "store-disk": { category: "store", holds: "the database's disk has room", remedy: "make room, or shorten certificateRetention" },
  "key-answers": {
    category: "keys", holds: "has its key at hand, and it fits the certificate",
    remedy: "see where keys live, in ca/README.md: KMS permissions, the token, the sealing key",
  },
  "authority-active": { category: "authorities", holds: "is there and active", remedy: "look at: countersign authority list" },
  "authority-algorithm": { category: "authorities", holds: "has a key and a signature that last", remedy: "replace it: countersign authority rotate" },
  "authority-valid": { category: "authorities", holds: "is within its validity", remedy: "look at the clocks, then at: countersign authority list" },
  "authority-life": { category: "authorities", holds: "has enough of its life left", remedy: "countersign authority rotate" },
  "authority-chain": {
    category: "authorities", holds: "is accepted by who trusts no other root",
    remedy: "who holds only that root refuses new certificates; look at: countersign authority list",
  },
  "authority-names": { category: "authorities", holds: "names this trust domain and no other", remedy: "proxies refuse what it signs; replace it: countersign authority rotate" },
  "authority-tainted": { category: "authorities", holds: "no tainted authority is trusted", remedy: "when its holders have renewed, countersign authority revoke it" },
  "upstream-followed": { category: "authorities", holds: "is followed", remedy: "look at that CA and the way to it; what is held stays in force until this CA's issuer ends" },
  "upstream-constrained": { category: "authorities", holds: "is held to this trust domain", remedy: "at the CA above: countersign operator remove its ID, then countersign issuer invite without --unconstrained" },
  "convergence-trusted": {
    category: "convergence", holds: "is trusted by every holder",
    remedy: "look at their proxies, or wait until their certificates have ended",
  },
  "proxy-chain": {
    category: "data plane", holds: "every proxy's certificate is from an authority in force",
    remedy: "they are to renew: look at their logs, or restart them with a new join token",
  },
  "proxy-life": {
    category: "data plane", holds: "every proxy has renewed in time",
    remedy: "look at renewals in their /metrics and logs before they expire",
  },
  "proxy-clock": { category: "data plane", holds: "every proxy's clock is right", remedy: "let chrony or ntpd set their machines' clocks" },
  "proxy-version": { category: "data plane", holds: "every proxy is of the CA's version", remedy: "bring them up to it" },
  "proxy-mode": { category: "data plane", holds: "no proxy lets in what it should refuse for long", remedy: "when edges shows nothing unsecured, set inboundMode to strict" },
  "proxy-list": { category: "data plane", holds: "all proxies could be looked at", remedy: "there are more than one look shows; the others report as well" },
  "revocation-lag": {
    category: "revocation", holds: "every proxy enforces the newest revocations",
    remedy: "look whether they reach GET /v1/watch or can poll",
  },
  "crl-fresh": { category: "revocation", holds: "is fresh", remedy: "the CA's log says why it was not signed; for a root that is offline: countersign ceremony request root-crl" },
  "attestor-answers": {
    category: "attestation", holds: "can vouch for workloads",
    remedy: "until it does, whoever attests by it gets no certificate; renewals go on",
  },
  "attestor-anchors": { category: "attestation", holds: "has anchors that are in force", remedy: "put the other PKI's newer roots into its anchorsFile, and start the CA again" },
  "acme-directory": { category: "acme", holds: "the directory answers, and leads to the CA's public URL", remedy: "set publicUrl to what ACME's clients reach" },
  "acme-resolver": { category: "acme", holds: "names can be looked up", remedy: "mend the DNS server, or name another as acme.resolver: no name can be proved" },
  "acme-accounts": { category: "acme", holds: "the external accounts can be read", remedy: "mend acme.externalAccountsFile: nobody gets anything by ACME" },
  "acme-names": { category: "acme", holds: "whoever tried to prove a name lately could", remedy: "look whether the CA reaches them on httpPort or tlsPort, and whether acme.reach has their addresses" },
  "federation-fresh": { category: "federation", holds: "is there and up to date", remedy: "countersign federation refresh it" },
  "federation-heard": { category: "federation", holds: "has this CA's newest bundle", remedy: "over there, look at countersign federation show, and whether it reaches this CA's public URL" },
  "web-certificate": {
    category: "federation", holds: "has enough of its life left", remedy: "renew it (certbot renew); who knows this CA by https_web cannot read its bundle once it has ended",
  },
  "hub-read": { category: "federation", holds: "is read", remedy: "look at: countersign federation hubs" },
  "hub-listed": { category: "federation", holds: "has this CA as it is", remedy: "its owner is to admit the key that countersign federation hubs shows (hub admit KEY, with --replace for another one)" },
  "hub-published": { category: "federation", holds: "this CA's bundle is published for its hub", remedy: "look at the folder or bucket that federationHub names, and at the CA's log; the others keep the one before for three days" },
  "log-cosigned": { category: "audit log", holds: "has cosigned the audit log lately", remedy: "look at: countersign federation show, and at that CA" },
  "log-verifies": { category: "audit log", holds: "the newest checkpoint is signed and over the newest entry", remedy: "keep the database as it is, and run: countersign audit verify" },
  "log-continues": { category: "audit log", holds: "is continued by the log", remedy: "somebody rewrote it, or it was restored; run: countersign audit verify" },
  "log-witnessed": { category: "audit log", holds: "the newest checkpoint is kept beside the database", remedy: "the CA's log says why witnessFile was not written" },
  "token-age": { category: "access", holds: "no API token is older than 100 days", remedy: "make another with --ttl, or use SVIDs (countersign operator add), then delete it" },
  "token-scope": { category: "access", holds: "no API token reaches further than it needs", remedy: "make one with a narrower --scope, then delete it" },
  "token-used": { category: "access", holds: "every token was used in the last 30 days", remedy: "countersign token delete what nobody uses" },
  "operator-scope": { category: "access", holds: "no role is bound to more than it needs", remedy: "bind it to single IDs: countersign operator add, then remove" },
  "operator-used": { category: "access", holds: "every operator's role was used in the last 100 days", remedy: "countersign operator remove whoever needs it no more" },
  "clock-here": { category: "clock", holds: "this machine's clock is the CA's", remedy: "set the wrong one; this command judges by this one" },
  "clock-store": { category: "clock", holds: "the CA's clock is the database's", remedy: "beyond 10 s it stops issuing; let chrony or ntpd set both" },
  "pre-node": { category: "before an install", holds: "Node.js is recent enough", remedy: "install 24.12 or later, or run it through npm" },
  "pre-config": { category: "before an install", holds: "the settings hold together", remedy: "mend the setting" },
  "pre-folder": { category: "before an install", holds: "the data folder can be used", remedy: "make it the CA's own, mode 0700, on a local disk" },
  "pre-listen": { category: "before an install", holds: "the API's address is free", remedy: "end what listens there, or choose another with --listen" },
  "pre-store": { category: "before an install", holds: "the database answers, and is empty or a CA's", remedy: "mend the URL, the user's rights or the network" },
  "pre-sealing": { category: "before an install", holds: "the sealing key is there, or can be made", remedy: "name the right one: without it nothing in the database can be signed with" },
  "pre-attestors": { category: "before an install", holds: "each attestor is reached from here", remedy: "mend its setting, the rights or the network" },
  "pre-acme": { category: "before an install", holds: "ACME's DNS server and accounts are there", remedy: "mend resolver or externalAccountsFile in the setting acme" },
  "pre-web": { category: "before an install", holds: "the web certificate can be shown", remedy: "mend webCert and webKey" },
  "pre-clock": { category: "before an install", holds: "this machine's clock is the database's", remedy: "let chrony or ntpd set it: the CA does not start in doubt" },
} as const satisfies Readonly<Record<string, CatalogueEntry>>;

export type CheckId = keyof typeof catalogue;

interface CatalogueEntry {
  readonly category: string;
  /** What must hold; where there are several of a kind, the words behind the one's name. */
  readonly holds: string;
  readonly remedy: string;
}

/** Where a check is explained. @param page  the one that explains them all: `/docs` of a CA, or ca/README.md */
export function linkOf(check: CheckId, page: string): string {
  return `${page}#check-${check}`;
}
