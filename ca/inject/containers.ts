/** Which CA the proxies get, and from which images they run. */
export interface InjectSettings {
  /** `https://host:port` of the CA, as pods reach it. */
  readonly caUrl: string;
  readonly trustDomain: string;
  /** PEM of the CA's roots. */
  readonly roots: string;
  readonly proxyImage: string;
  /** With nft; only where connections are intercepted. */
  readonly interceptImage: string;
}

/** What goes through the proxy without a setting in the app. */
export type Intercepted = "none" | "outbound" | "all";

/** A pod's own wishes. */
export interface ProxyWishes {
  readonly appPort: number;
  readonly intercepted: Intercepted;
  readonly transparentDefault: "passthrough" | "refuse";
  readonly inboundMode: "strict" | "audit" | "permissive";
  readonly skipInboundPorts: readonly number[];
  readonly skipOutboundPorts: readonly number[];
  /** Whether scrapers reach the proxy's metrics, and the kubelet its probes. */
  readonly metrics: boolean;
}

/**
 * The proxy as a native sidecar: it is up before whatever comes after it among the init containers, and ends after the app.
 * @source KEP-753
 */
export function proxyContainer({ caUrl, trustDomain, proxyImage }: InjectSettings, { appPort, intercepted, transparentDefault, inboundMode, metrics }: ProxyWishes) {
  const env: Readonly<Record<string, string>> = {
    COUNTERSIGN_PROXY_ATTEST: "kubernetes",
    COUNTERSIGN_PROXY_CA: caUrl,
    COUNTERSIGN_PROXY_TRUST_DOMAIN: trustDomain,
    COUNTERSIGN_PROXY_ROOT: `${mountPath}/root.pem`,
    COUNTERSIGN_PROXY_TOKEN_FILE: `${mountPath}/token`,
    COUNTERSIGN_PROXY_APP: `127.0.0.1:${appPort}`,
    COUNTERSIGN_PROXY_INBOUND_MODE: inboundMode,
    ...(intercepted !== "none" && { COUNTERSIGN_PROXY_TRANSPARENT: "localhost:4141", COUNTERSIGN_PROXY_TRANSPARENT_DEFAULT: transparentDefault }),
    ...(metrics && { COUNTERSIGN_PROXY_METRICS: `*:${metricsPort}` }),
  };
  // The admin pages are on loopback, where the kubelet does not reach them: without the other listener it starts a program to ask there.
  const probe = metrics ? { httpGet: { path: "/readyz", port: metricsPort } } : { exec: { command: readyCommand } };
  return {
    name: proxyName,
    image: proxyImage,
    restartPolicy: "Always",
    env: Object.entries(env).map(([name, value]) => ({ name, value })),
    ports: [
      { name: "countersign", containerPort: inboundPort, protocol: "TCP" },
      ...(metrics ? [{ name: metricsPortName, containerPort: metricsPort, protocol: "TCP" }] : []),
    ],
    startupProbe: { ...probe, periodSeconds: 2, timeoutSeconds: 5, failureThreshold: 60 },
    readinessProbe: { ...probe, periodSeconds: 15, timeoutSeconds: 5 },
    resources: { requests: { cpu: "10m", memory: "96Mi" }, limits: { memory: "256Mi" } },
    securityContext: { runAsUser: proxyUserId, runAsGroup: proxyUserId, runAsNonRoot: true, ...locked },
    volumeMounts: [{ name: volumeName, mountPath, readOnly: true }],
  };
}

/** Redirects the pod's connections, before the app starts and after the proxy is up. */
export function interceptContainer({ interceptImage }: InjectSettings, { intercepted, skipInboundPorts, skipOutboundPorts, metrics }: ProxyWishes) {
  const skipped = [...(metrics ? [metricsPort] : []), ...skipInboundPorts];
  return {
    name: interceptName,
    image: interceptImage,
    args: [
      "intercept", "install", "--proxy-user", String(proxyUserId),
      ...(intercepted === "outbound" ? ["--inbound", "off"] : ["--skip-inbound-ports", skipped.join(",")]),
      ...(skipOutboundPorts.length > 0 ? ["--skip-outbound-ports", skipOutboundPorts.join(",")] : []),
    ],
    resources: { requests: { cpu: "10m", memory: "64Mi" }, limits: { memory: "256Mi" } },
    securityContext: { runAsUser: 0, runAsNonRoot: false, ...locked, capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] } },
  };
}

/** The kubelet's token for our audience, and the roots, which an annotation carries: so no ConfigMap is needed in each namespace. */
export function proxyVolume({ trustDomain }: InjectSettings) {
  return {
    name: volumeName,
    projected: {
      sources: [
        { serviceAccountToken: { audience: `spiffe://${trustDomain}`, expirationSeconds: tokenSeconds, path: "token" } },
        { downwardAPI: { items: [{ path: "root.pem", fieldRef: { fieldPath: "metadata.annotations['countersign.dev/root']" } }] } },
      ],
    },
  };
}

const locked = {
  allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] }, seccompProfile: { type: "RuntimeDefault" },
} as const;
const readyCommand = [
  "/usr/local/bin/node", "-e", 'fetch("http://127.0.0.1:4191/readyz").then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))',
];

export const proxyName = "countersign-proxy";
export const interceptName = "countersign-intercept";
export const volumeName = "countersign";
/** Interception lets this user's connections pass as they are, so no app may run as it. */
export const proxyUserId = 64_143;
export const inboundPort = 4143;
const metricsPort = 4192;
/** By it a PodMonitor finds the proxies. */
const metricsPortName = "proxy-metrics";
/** Where the proxy listens in the pod, loopback included. */
export const proxyPorts: readonly number[] = [4140, 4141, inboundPort, 4191, metricsPort];
const mountPath = "/var/run/countersign";
/** The kubelet renews it at 80 %. */
const tokenSeconds = 3600;
