/** What of a Pod, or of a template for pods, is looked at; the rest passes as it is. */
export interface Pod {
  readonly metadata?: {
    readonly name?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: PodSpec;
}

export interface PodSpec {
  readonly hostNetwork?: boolean;
  readonly securityContext?: { readonly runAsUser?: number };
  readonly initContainers?: readonly Container[];
  readonly containers?: readonly Container[];
  readonly volumes?: readonly { readonly name: string }[];
}

export interface Container {
  readonly name: string;
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number; readonly protocol?: string }[];
  readonly securityContext?: { readonly runAsUser?: number };
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly startupProbe?: Probe;
}

/** The kubelet connects to these from outside of the pod; `exec` it does not. */
export interface Probe {
  readonly httpGet?: { readonly port: number | string };
  readonly tcpSocket?: { readonly port: number | string };
  readonly grpc?: { readonly port: number };
}

/** What people write on a pod, or on its template; `inject` may be a label as well, since webhooks are selected by labels. */
export const annotation = {
  inject: "countersign.dev/inject",
  appPort: "countersign.dev/app-port",
  intercept: "countersign.dev/intercept",
  transparentDefault: "countersign.dev/transparent-default",
  inboundMode: "countersign.dev/inbound-mode",
  skipInboundPorts: "countersign.dev/skip-inbound-ports",
  skipOutboundPorts: "countersign.dev/skip-outbound-ports",
  metrics: "countersign.dev/metrics",
  /** Written by us: the roots by which the proxy knows its CA. */
  root: "countersign.dev/root",
} as const;
