import { renderSettingsHelp, renderSettingsTable, settingsOf, type Setting } from "../settings/setting.ts";

/** How a value is written: `24h`, `64KiB`, `8443`, text, or comma-separated text (in JSON also an array). */
export type SettingUnit = "text" | "json" | "list" | "duration" | "bytes" | "count" | "percent";

export type SettingKey =
  | "trustDomain" | "dataDir" | "store" | "initialize" | "listen" | "publicUrl" | "apiNames"
  | "certificateLifetime" | "certificateLifetimeMax" | "issuerLifetime" | "issuerRenewBefore" | "rootLifetime" | "rootPrepareAt" | "rootActivateAt" | "rootRetireAfter" | "renewWindow"
  | "jwtSvidLifetime" | "jwtSvidLifetimeMax" | "jwtKeyRotation"
  | "foreignIssuerLifetimeMax" | "clockSkew" | "profiles" | "attestors" | "linkerdListen" | "linkerdAttestor" | "acme"
  | "keyAlgorithm" | "rootCert" | "rootKey" | "nextRootKey" | "rootKeyPassphrase" | "upstreamFile" | "upstream" | "sealing" | "sealingKeyFile" | "sealingKey"
  | "kmsEndpoint" | "kmsRegion" | "pkcs11Pin"
  | "statusListen" | "statusUrl" | "crlShards" | "crlLifetime" | "rootCrlLifetime" | "ocspLifetime" | "noRevAvail"
  | "witnessFile" | "checkpoint" | "acceptRollback" | "acceptClock"
  | "joinTokenLifetime" | "certificateRetention" | "reattestGrace" | "bodyLimit" | "requestTimeout" | "maxConnections" | "maxWatchers" | "bundleRefreshHint" | "federationSettle" | "federationWebRoots" | "webCert" | "webKey" | "federationHub" | "federationHubEndpoint" | "publish" | "publishEndpoint" | "callerRate" | "workloadRate" | "anonymousRate" | "forwarders" | "logLevel";

export type ConfigSetting = Setting<SettingKey, SettingUnit>;

const setting = settingsOf<SettingKey, SettingUnit>("COUNTERSIGN_");

/** Every setting there is: `readConfig`, `--help` and the README's table are made from it. */
export const configTable: readonly ConfigSetting[] = [
  setting("trustDomain", "text", "countersign.local", "Trust domain of every identity this CA issues; fixed at the first start.",
    "Identities carry it: choose a name no other cluster uses."),
  setting("dataDir", "text", "./.countersign", "Folder for the embedded database, the sealing key and the admin token.",
    "Holds secrets: keep it off shared disks, back it up."),
  setting("store", "text", "sqlite:<dataDir>/countersign.db", "Database: `sqlite:<path>` or `postgres://user@host/database`; of several hosts, `one:5432,two:5432`, the first that takes writes.",
    "A URL with a password is readable in the process list when given as a flag: use the environment."),
  setting("initialize", "text", "on", "Whether this process makes and upgrades the database's tables, and begins a CA in an empty database. With `off`, for Postgres, it waits until `countersign store initialize` has.",
    undefined, ["on", "off"]),
  setting("listen", "text", "127.0.0.1:8443", "Address and port of the API; `*` is every address, IPv4 and IPv6, port 0 any free one.",
    "Beyond loopback, everybody who reaches it may try tokens."),
  setting("publicUrl", "text", undefined, "URL under which proxies reach the API; it goes into bootstrap strings. Default: from `listen`.",
    "Wrong, and a proxy cannot get its first certificate."),
  setting("apiNames", "list", "", "Further DNS names and IP addresses for the API's own certificate.",
    "No workload certificate may carry them."),
  setting("certificateLifetime", "duration", "24h", "Lifetime of a workload certificate when none is asked for."),
  setting("certificateLifetimeMax", "duration", "24h", "Longest lifetime that may be asked for.",
    "A stolen key is good for this long where the revocation feed does not reach."),
  setting("issuerLifetime", "duration", "48h", "Lifetime of an issuer.", "An issuer whose key leaked is good for this long."),
  setting("issuerRenewBefore", "duration", "25h", "An issuer is replaced when it has less than this left.",
    "Must exceed certificateLifetimeMax, or the last certificates of an issuer would outlive it."),
  setting("rootLifetime", "duration", "10y", "Lifetime of a root made at the first start."),
  setting("foreignIssuerLifetimeMax", "duration", "30d", "Longest lifetime of an issuer signed for another CA; 48h when none is asked for.",
    "Whoever has its key can name every workload of its trust domain for this long."),
  setting("rootPrepareAt", "percent", "80%", "Part of a root's usable life after which its successor is made and published."),
  setting("rootActivateAt", "percent", "90%", "Part after which the successor takes over, as soon as every holder has acknowledged it.",
    "The time between the two is what software has that gets the bundle by other ways."),
  setting("rootRetireAfter", "percent", "1%", "How long a replaced root stays in the bundle at least, as part of its life; until then its successor is cross-signed by it.",
    "Software that knows only the old root works for so long."),
  setting("renewWindow", "duration", "5m", "Over how long holders spread their renewals when an authority is tainted.",
    "Longer, and a stolen key is good for longer; shorter, and all come at once."),
  setting("jwtSvidLifetime", "duration", "5m", "Lifetime of a JWT-SVID when none is asked for."),
  setting("jwtSvidLifetimeMax", "duration", "1h", "Longest lifetime that may be asked for.",
    "Nothing revokes a token before its end but to taint the key of all of them, and whoever reads one can use it."),
  setting("jwtKeyRotation", "duration", "7d", "How long a key signs JWT-SVIDs before the next one, which is in the bundle all that time, takes over."),
  setting("clockSkew", "duration", "20s", "How far notBefore is set back, for verifiers whose clock is late."),
  setting("profiles", "json", undefined, "Named profiles for some IDs: lifetimes, keys, DNS names and IP ranges; in the file an object (see ca/README.md)."),
  setting("attestors", "json", undefined, "Who else may vouch for workloads: Kubernetes clusters, OIDC issuers, AWS accounts, other PKIs; in the file an object by name (see ca/README.md).",
    "Each names workloads as an admin does, whatever its rules let it."),
  setting("linkerdListen", "text", undefined, "Address and port where stock Linkerd proxies get their certificates, in Linkerd's own protocol (see ca/README.md).",
    "These proxies keep their key until they restart, so each key is certified many times."),
  setting("linkerdAttestor", "text", undefined, "The attestor, of the type kubernetes, that judges their tokens and gives them their DNS names."),
  setting("acme", "json", undefined, "Who gets DNS certificates by ACME, at `/acme/directory`, for which names; in the file an object (see ca/README.md).",
    "Whoever controls a name's web server or DNS has a certificate for it, and by that an identity of the trust domain."),
  setting("keyAlgorithm", "text", "ec-p256", "Keys of the root and the issuers this CA makes.", undefined, ["ec-p256", "ec-p384"]),
  setting("rootCert", "text", undefined, "First start: use this root certificate (PEM) instead of making one."),
  setting("rootKey", "text", "software",
    "First start: where the root's key is. `software`: made here and sealed in the store; `kms:KEY-ID` or `pkcs11:...` (RFC 7512): made " +
      "beforehand, for signing; `offline`: signs in ceremonies only; else the path of the private key of rootCert (PEM: PKCS#8, SEC1 or PKCS#1).",
    "A file is copied, sealed, into the store: keep it offline afterwards. Without rootCert a root is made for the key."),
  setting("nextRootKey", "text", undefined,
    "Where the next root's key is, made beforehand: `kms:KEY-ID` or `pkcs11:...`. The CA makes that root when it is due, or when asked to, whatever the key of the active " +
      "one is. Default: where the active one's is sealed in the store, so is the next one's."),
  secret("rootKeyPassphrase", "Passphrase of rootKey, if it has one."),
  setting("upstreamFile", "text", undefined,
    "File with the string that `countersign issuer invite` printed at another CA: that one signs this CA's issuers, and its root is the anchor (see ca/README.md). The trust domain " +
      "is the string's; issuerLifetime is then 7d and issuerRenewBefore 84h where nobody says. To stay set; the string itself is good once.",
    "Who has the other CA's root can name every workload of this one."),
  secret("upstream", "The string itself, instead of a file."),
  setting("sealing", "text", "file",
    "First start: what protects the private keys in the store. `file`: sealingKeyFile or sealingKey; `kms:KEY-ID`: a key that KMS wraps.",
    "With KMS, no start without KMS; delete that key, and the CA's keys are lost."),
  setting("sealingKeyFile", "text", "<dataDir>/sealing.key", "File with the key that seals private keys in the store; made at the first start.",
    "Lost, and the CA's keys are lost; every replica on one Postgres needs the same one."),
  secret("sealingKey", "The sealing key itself, 32 bytes in base64, instead of a file."),
  setting("kmsEndpoint", "text", undefined, "URL of AWS KMS, where it is not the region's own."),
  setting("kmsRegion", "text", undefined, "Region of the KMS keys; default: what the AWS SDK finds (AWS_REGION, the profile)."),
  secret("pkcs11Pin", "User PIN of the PKCS#11 token, where the URI names no pin-source."),
  setting("statusListen", "text", undefined, "Address and port of a second listener, plain HTTP, for CRLs, OCSP and issuer certificates alone.",
    "Everybody who reaches it reads who is revoked; it tells nothing else."),
  setting("statusUrl", "text", undefined,
    "URL (http) under which other software reaches these; certificates then say where their CRL and OCSP are. Default: from `statusListen`.",
    "Changed, and CRLs no longer fit the certificates issued before, until those have expired."),
  setting("crlShards", "count", "8", "On how many CRLs an issuer's certificates are spread; `full.crl` has them all.",
    undefined, ["1", "2", "4", "8", "16", "32", "64", "128", "256"]),
  setting("crlLifetime", "duration", "24h", "How long an issuer's CRL is good; it is signed anew at half of it, and when a certificate is revoked.",
    "Software that caches it learns of a revocation that late."),
  setting("rootCrlLifetime", "duration", "7d", "The same for a root's CRL, which lists revoked issuers."),
  setting("ocspLifetime", "duration", "1h", "How long an OCSP response is good.", "Software that caches it learns of a revocation that late."),
  setting("noRevAvail", "text", "off",
    "Whether certificates say that no revocation is published for them (RFC 9608); it takes the place of CRL and OCSP in them.",
    "Only proxies, which follow the deny-list, then learn of a revocation.", ["off", "on"]),
  setting("witnessFile", "text", "<dataDir>/witnessed-checkpoint", "Where the newest checkpoint of the audit log is kept; the CA does not start on a log that lacks it.",
    "On the database's disk, both go back together when that is restored: better on another."),
  setting("checkpoint", "text", undefined, "File with a checkpoint kept elsewhere, which the log must contain at the start."),
  setting("acceptRollback", "count", undefined, "Start although entries of the log up to this one were witnessed and are gone; it is recorded.",
    "What was issued and revoked since is forgotten: a revoked certificate passes again. Not to be left set."),
  setting("acceptClock", "text", undefined, "Start although this machine's clock is behind certificates issued up to this time, by a wrong one; it is recorded.",
    "If the clock is wrong now, what is issued by it is expired for everybody else."),
  setting("joinTokenLifetime", "duration", "1h", "How long a join token may wait for its redemption when nobody says."),
  setting("certificateRetention", "duration", "30d", "How long a certificate's row is kept after its end, and never less than reattestGrace; the audit log keeps its record for good.",
    "A key pair may be certified again once it is forgotten."),
  setting("reattestGrace", "duration", "30d", "How long after its certificate expired a proxy may come back with its redeemed join token.",
    "A key stolen from a dead workload is good for this long, unless it is revoked or its token deleted."),
  setting("bodyLimit", "bytes", "64KiB", "Largest request body."),
  setting("requestTimeout", "duration", "10s", "A request that takes longer is answered 408 and dropped."),
  setting("maxConnections", "count", "4096", "Connections open at once; more are turned away, unless one client network has more of them than the newcomer's."),
  setting("callerRate", "count", "500", "Requests a second of one API token or operator's SVID; ten seconds' worth may come at once. Admins are not limited."),
  setting("workloadRate", "count", "100", "Certificates a second asked for by one SPIFFE ID or join token; ten seconds' worth may come at once. As many questions to the feed, counted apart.",
    "All replicas of a workload share its ID: too low, and they wait for each other after an outage."),
  setting("anonymousRate", "count", "2000", "Requests a second of all who prove no identity, together; ten seconds' worth may come at once.",
    "As many again for those who follow the feed without proving who they are, and for those who speak ACME without an account, a quarter of it for one address; the bundle is not counted."),
  setting("maxWatchers", "count", "3000", "Proxies that follow the feed by a stream at once; more are told to poll. At most a quarter are strangers, who make room for proxies.",
    "Each holds one of maxConnections: leave enough for renewals."),
  setting("bundleRefreshHint", "duration", "60s", "How often federated peers, and proxies without a stream, are asked to look for a new bundle.",
    "What changes is known to them that late."),
  setting("federationSettle", "duration", "90s", "How long another trust domain's bundle has been told to proxies before its CA hears that it is trusted here.",
    "Below twice bundleRefreshHint, a proxy without a stream may not have it by then, and refuses that CA's new root."),
  setting("federationWebRoots", "text", undefined, "PEM file of the roots that https_web bundle endpoints are verified by, instead of those that Node brings along.",
    "Whoever has one of these keys can be any endpoint."),
  setting("webCert", "text", undefined, "PEM file of a certificate of the web and its chain, e.g. certbot's fullchain.pem: shown to whoever asks for one of its DNS names, so that /v1/bundle is an https_web endpoint; names of the API stay with its own. Read again when it changes."),
  setting("webKey", "text", undefined, "PEM file of its key, e.g. certbot's privkey.pem; not readable by everybody."),
  setting("federationHub", "text", undefined, "Where this CA publishes its signed bundle for a hub, whenever it changes: a folder, or `s3://bucket/prefix` with the AWS credentials of this process."),
  setting("federationHubEndpoint", "text", undefined, "Endpoint of that bucket where it is not AWS's: `https://minio.example`, or `https://{bucket}.s3.example`."),
  setting("publish", "text", undefined, "Where bundle, CRLs and certificates of authorities are put for everybody to read, whenever they change: a folder, or `s3://bucket/prefix` with the AWS credentials of this process.",
    "Who may write there says what is revoked to those who read there: CRLs are signed, but an older one is as well."),
  setting("publishEndpoint", "text", undefined, "Endpoint of that bucket where it is not AWS's: `https://minio.example`, or `https://{bucket}.s3.example`."),
  setting("forwarders", "count", undefined, "How many load balancers or proxies stand before the API that append to X-Forwarded-For: a stranger's address is then read from there.",
    "More than there are, and a stranger names its own address."),
  setting("logLevel", "text", "info", "Least severe log line that is written.", undefined, ["fatal", "error", "warn", "info", "debug", "trace", "silent"]),
];

/** The table as Markdown, for the README. */
export const renderConfigTable = (): string => renderSettingsTable(configTable);

/** The table as the options section of `countersign serve --help`. */
export const renderConfigHelp = (): string => renderSettingsHelp(configTable);

function secret(key: SettingKey, about: string): ConfigSetting {
  return { ...setting(key, "text", undefined, about, "Environment only: never on a command line or in the file."), flag: undefined };
}
