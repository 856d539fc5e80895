import { renderSettingsHelp, renderSettingsTable, settingsOf, type Setting } from "../../ca/settings/setting.ts";

/** How a value is written: `30s`, `8443`, text, or a list: the flag repeated, text with spaces between, in JSON an array. */
export type SettingUnit = "text" | "list" | "duration" | "count";

/** Name of a setting. */
export type SettingKey =
  | "bootstrap" | "bootstrapFile" | "attest" | "attestor" | "tokenFile" | "certFile" | "keyFile" | "awsRegion" | "awsEndpoint" | "ca" | "caTls" | "trustDomain" | "root"
  | "inbound" | "app" | "inboundProtocol" | "opaquePorts" | "inboundMode" | "outbound" | "transparent" | "transparentDefault" | "route" | "tcp" | "admin" | "metrics" | "allow"
  | "foreignBundle" | "foreignBundleMap" | "stateDir" | "writeDir" | "onRenewal" | "onRenewalTimeout" | "workloadSocket" | "workloadSocketMode" | "keyAlgorithm" | "keyExchange" | "certificateLifetime" | "revocationPoll" | "handshakeTimeout"
  | "connectTimeout" | "idleTimeout" | "connectionMaxAge" | "maxConnections" | "drainTimeout" | "logLevel" | "accessLog" | "remoteTap" | "otlpEndpoint" | "traceEvery";

export type ConfigSetting = Setting<SettingKey, SettingUnit>;

const setting = settingsOf<SettingKey, SettingUnit>("COUNTERSIGN_PROXY_");

/** Every setting of the proxy: `readConfig`, `--help` and the README's table are made from it. */
export const configTable: readonly ConfigSetting[] = [
  {
    key: "bootstrap", env: "COUNTERSIGN_BOOTSTRAP", flag: undefined, default: undefined, unit: "text",
    about: "The string that `countersign token create` prints: CA, root fingerprint and a one-use token.",
    danger: "A secret until it is redeemed: environment or file only, never on a command line.",
  },
  setting("bootstrapFile", "text", undefined, "File that holds the bootstrap string, instead of the environment.",
    "Readable by others, its token can be redeemed by others: mode 0600."),
  setting("attest", "text", "join-token", "Who vouches for this workload: the bootstrap string's token, or its platform, by an attestor of the CA; then `ca`, `trustDomain` and `root` are needed.",
    undefined, ["join-token", "kubernetes", "oidc", "x509", "aws-iam"]),
  setting("attestor", "text", undefined, "The attestor's name at the CA, where it has several of the type."),
  setting("tokenFile", "text", undefined, "`kubernetes`, `oidc`: the file in which the platform keeps a token for the CA's audience. Read at each use."),
  setting("certFile", "text", undefined, "`x509`: PEM file of a client certificate of another PKI, leaf first. Read at each use, as is `keyFile`."),
  setting("keyFile", "text", undefined, "`x509`: PEM file of its key."),
  setting("awsRegion", "text", undefined, "`aws-iam`: whose STS the CA asks. Default: `AWS_REGION`. Credentials come from the environment, a web identity (EKS), the container's agent or the instance."),
  setting("awsEndpoint", "text", undefined, "`aws-iam`: STS in place of the region's own, as the CA has it."),
  setting("ca", "text", undefined, "`https://host:port` of the CA."),
  setting("caTls", "text", "svid", "By what the CA is known: `svid`, its own certificate; `web`, where a load balancer or AWS Lambda ends the TLS: a certificate for its name by a root " +
    "that Node.js trusts (`NODE_EXTRA_CA_CERTS` adds one). The first bundle must have the pinned root in either case.",
    "With `web` whoever gets such a certificate for the CA's name decides whom this proxy trusts.", ["svid", "web"]),
  setting("trustDomain", "text", undefined, "The CA's trust domain."),
  setting("root", "list", "", "What the CA is known by before the first certificate: PEM files of its roots (`countersign bundle show -o pem`), or SHA-256 fingerprints in hex.",
    "Whoever writes it decides who our CA is."),
  setting("inbound", "text", "*:4143", "Where mutual TLS is accepted for the app: `*` is every address, IPv4 and IPv6; `off` for none."),
  setting("app", "text", "127.0.0.1:8080", "The local app that inbound connections are forwarded to.",
    "Anything but loopback carries plain text over a network."),
  setting("inboundProtocol", "text", "detect", "What the app speaks. Declare `tcp` where the server speaks first and `opaquePorts` does not name its port.",
    "With `tcp` no identity header is set and none that the client sent is stripped. `detect` guards against the HTTP servers we know: " +
      "for an app with a looser parser, or that speaks TLS itself, declare `http` or `tcp`.", ["detect", "http", "tcp"]),
  setting("opaquePorts", "list", "25 587 3306 4444 5432 6379 9300 11211", "Ports of the app where `detect` does not look: bytes are carried as they come, at once, so that a server can speak first. " +
    "The defaults are Linkerd's.",
    "On these ports no identity header is set and none that the client sent is stripped."),
  setting("inboundMode", "text", "strict", "What becomes of what policy denies: `strict` refuses it; `audit` logs and counts it and lets it through; " +
    "`permissive` refuses it, and takes plain text too, without an identity header.",
    "`audit` lets everybody in who has an identity, `permissive` whoever reaches the port, where no rule denies it.", ["strict", "permissive", "audit"]),
  setting("outbound", "text", "127.0.0.1:4140", "HTTP forward proxy for the app (`http_proxy=`); `off` for none.",
    "Whoever reaches it speaks with this proxy's identity: keep it on loopback."),
  setting("transparent", "text", "off", "Where connections arrive that `countersign-proxy intercept` redirects, e.g. `localhost:4141`; `off` for none. Linux.",
    "Inbound, every port of this host that is intercepted is reached through the proxy."),
  setting("transparentDefault", "text", "refuse", "What becomes of a redirected connection to an address that no route names.",
    "With `passthrough` it goes on in plain text, to whoever answers there.", ["refuse", "passthrough"]),
  setting("route", "list", "", "`HOST[:PORT]=ADDRESS:PORT,SPIFFE-ID`: where requests for a host go, and which identity must answer.",
    "The identity named here is the only one that is trusted to answer."),
  setting("tcp", "list", "", "`LISTEN=ADDRESS:PORT,SPIFFE-ID`: a local TCP port that leads to one service.",
    "Whoever reaches it speaks with this proxy's identity: keep it on loopback."),
  setting("admin", "text", "127.0.0.1:4191", "`/livez`, `/readyz`, `/metrics`, `/identity`, `/edges`; `off` for none. Loopback only."),
  setting("metrics", "text", "off", "Where `/metrics`, `/livez` and `/readyz`, and nothing else, are open to scrapers and probes from elsewhere, e.g. `*:4192`; `off` for nowhere.",
    "Whoever reaches it reads who talks to whom, how much and with what result."),
  setting("allow", "list", undefined, "SPIFFE IDs, or prefixes ending in `/*`, that may connect inbound. Default: the own trust domain.",
    "An empty list lets nobody in."),
  setting("foreignBundle", "list", "", "`TRUST-DOMAIN=FILE`: the SPIFFE bundle (JWK Set) of another trust domain; read again when it changes.",
    "Whoever writes the file decides who is that trust domain."),
  setting("foreignBundleMap", "text", undefined, "File with the bundles of several trust domains, a SPIFFE bundle map as `countersign federation map` prints it; read again when it changes, whole or not at all.",
    "Whoever writes the file decides who all of these are; our own trust domain in it is left out."),
  setting("stateDir", "text", undefined, "Folder (0700) that keeps key, certificate, bundle and revocations, so that a restart needs no new token.",
    "Holds the private key; without it everything is in memory only."),
  setting("writeDir", "text", undefined, "Folder that gets `cert.pem`, `key.pem` (0600), `bundle.pem` and `federated/<trust domain>.pem`, all at once at each change.",
    "Holds the private key; a server that only reads these files does not learn what is revoked."),
  setting("onRenewal", "list", undefined, "Program, then its arguments, run after each change of these files: `--on-renewal 'nginx -s reload'`. No shell looks at it; " +
    "arguments with spaces go into the file, as an array.",
    "Runs as the proxy's user."),
  setting("onRenewalTimeout", "duration", "30s", "A command that takes longer is killed, with what it started."),
  setting("workloadSocket", "text", undefined, "Path of a Unix socket for the SPIFFE Workload API; apps find it by `SPIFFE_ENDPOINT_SOCKET=unix://PATH`.",
    "Whoever may connect gets the private key."),
  setting("workloadSocketMode", "text", "0600", "Who may connect: the proxy's user, also its group, or everybody who reaches the path.",
    "With `0666` every user of this machine has this identity.", ["0600", "0660", "0666"]),
  setting("keyAlgorithm", "text", "ec-p256", "Kind of key made for each certificate.", undefined, ["ec-p256", "ec-p384", "ed25519", "rsa-2048"]),
  setting("keyExchange", "text", "hybrid", "How handshakes agree on their secret: `hybrid` with ML-KEM-768 beside X25519, where the other side has it; `x25519` alone saves 0.1 ms of CPU each.",
    "With `x25519`, what is recorded today may be read by a quantum computer later.", ["hybrid", "x25519"]),
  setting("certificateLifetime", "duration", undefined, "Lifetime to ask the CA for. Default: what its profile says.",
    "The shorter, the less time a CA outage leaves."),
  setting("revocationPoll", "duration", "2s", "How often the CA is asked for new revocations while they do not come by its stream; and for policies, each 10 s at most.",
    "A revoked certificate is still accepted for this long then."),
  setting("handshakeTimeout", "duration", "10s", "A TLS handshake that takes longer is dropped."),
  setting("connectTimeout", "duration", "5s", "How long a connection to the app or to another proxy may take to open."),
  setting("idleTimeout", "duration", "1h", "A connection on which nothing moves for this long is closed."),
  setting("connectionMaxAge", "duration", "24h", "A connection older than this is closed, so that its peer proves itself anew."),
  setting("maxConnections", "count", "10000", "Connections open at once, inbound and outbound each; more are turned away, unless one client holds more than half of those inbound."),
  setting("drainTimeout", "duration", "30s", "How long open connections may finish after SIGTERM before they are cut."),
  setting("accessLog", "text", undefined, "Where each HTTP request is written as a line of JSON when it has ended: `stdout`, or a file (0600, opened anew for each batch).",
    "Paths may tell more than they should; queries, headers and bodies are never written."),
  setting("remoteTap", "text", "on", "Whether admins and auditors of the CA may look at live requests (`countersign tap`); the CA's audit log says when they did.", undefined, ["on", "off"]),
  setting("otlpEndpoint", "text", undefined, "OpenTelemetry collector that gets a span for each sampled request, by OTLP/HTTP as JSON: `http://127.0.0.1:4318`. Requests without a `traceparent` get one then.",
    "Paths and identities leave this host; plain http shows them to the network."),
  setting("traceEvery", "count", "100", "Of so many requests that come without a `traceparent` one is sampled; those that come with one say so themselves."),
  setting("logLevel", "text", "info", "Least severe log line that is written.", undefined, ["error", "warn", "info", "debug", "silent"]),
];

/** The table as Markdown, for the README. */
export const renderConfigTable = (): string => renderSettingsTable(configTable);

/** The table as the options section of `countersign-proxy --help`. */
export const renderConfigHelp = (): string => renderSettingsHelp(configTable);
