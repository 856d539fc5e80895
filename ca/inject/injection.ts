import {
  interceptContainer, interceptName, proxyContainer, proxyName, proxyPorts, proxyUserId, proxyVolume, volumeName,
  type InjectSettings, type Intercepted, type ProxyWishes,
} from "./containers.ts";
import { annotation, type Container, type Pod } from "./pod.ts";

/** What is added to a pod. */
export interface Injection {
  /** Before those it has. */
  readonly initContainers: readonly { readonly name: string }[];
  readonly volume: { readonly name: string };
  readonly annotations: Readonly<Record<string, string>>;
}

/** `skip`: the pod stays as it is, rightly. `refuse`: it asked for a proxy and cannot have one as it is. */
export type InjectionPlan =
  | { readonly kind: "inject"; readonly injection: Injection }
  | { readonly kind: "skip" | "refuse"; readonly why: string };

/** Decides what a pod gets. Pure, and idempotent: what has a proxy gets no second one. */
export function planInjection(pod: Pod, settings: InjectSettings): InjectionPlan {
  const { spec = {} } = pod;
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const names = containers.map(({ name }) => name);
  const wish = wishOf(pod, annotation.inject);
  if (wish === "disabled") return { kind: "skip", why: `${annotation.inject} is disabled` };
  if (wish !== undefined && wish !== "enabled") return refuse(`${annotation.inject} is enabled or disabled, not ${quoted(wish)}`);
  if (names.includes(proxyName)) return { kind: "skip", why: "it has a proxy" };
  if (names.includes(interceptName) || (spec.volumes ?? []).some(({ name }) => name === volumeName)) return refuse(`something in it is called ${interceptName} or ${volumeName}, which are our names`);
  if (spec.hostNetwork === true) return { kind: "skip", why: "it is on the network of its node, which is not the pod's to redirect" };
  const wishes = readWishes(pod);
  if (typeof wishes === "string") return refuse(wishes);
  const bypass = wishes.intercepted !== "none" && (spec.securityContext?.runAsUser === proxyUserId || containers.some(({ securityContext }) => securityContext?.runAsUser === proxyUserId));
  if (bypass) return refuse(`it runs as user ${proxyUserId}, whose connections pass the proxy by; give it another runAsUser`);
  const cut = wishes.intercepted === "all" ? probePorts(spec.containers ?? []).filter((port) => !wishes.skipInboundPorts.includes(port)) : [];
  if (cut.length > 0) {
    return refuse(`the kubelet's probes of port ${cut.join(", ")} come without mutual TLS and would be refused; use exec probes, or name a port that serves nothing else in ${annotation.skipInboundPorts}`);
  }
  return {
    kind: "inject",
    injection: {
      initContainers: [proxyContainer(settings, wishes), ...(wishes.intercepted === "none" ? [] : [interceptContainer(settings, wishes)])],
      volume: proxyVolume(settings),
      annotations: { [annotation.root]: settings.roots },
    },
  };
}

/** The pod with what is added to it; nothing of its own is changed. */
export function applyInjection<T extends Pod>(pod: T, { initContainers, volume, annotations }: Injection): T {
  return {
    ...pod,
    metadata: { ...pod.metadata, annotations: { ...pod.metadata?.annotations, ...annotations } },
    spec: { ...pod.spec, initContainers: [...initContainers, ...(pod.spec?.initContainers ?? [])], volumes: [...(pod.spec?.volumes ?? []), volume] },
  };
}

/** @returns what is wrong, where one cannot be read: a wish that is misspelled is not to be passed over */
function readWishes(pod: Pod): ProxyWishes | string {
  const oneOf = <const Value extends string>(name: string, values: readonly Value[]): Value | undefined => values.find((value) => value === (wishOf(pod, name) ?? values[0]));
  const intercepted = oneOf<Intercepted>(annotation.intercept, ["outbound", "all", "none"]);
  if (intercepted === undefined) return `${annotation.intercept} is outbound, all or none`;
  const transparentDefault = oneOf(annotation.transparentDefault, ["passthrough", "refuse"]);
  if (transparentDefault === undefined) return `${annotation.transparentDefault} is passthrough or refuse`;
  const inboundMode = oneOf(annotation.inboundMode, ["strict", "audit", "permissive"]);
  if (inboundMode === undefined) return `${annotation.inboundMode} is strict, audit or permissive`;
  const metrics = oneOf(annotation.metrics, ["enabled", "disabled"]);
  if (metrics === undefined) return `${annotation.metrics} is enabled or disabled`;
  const [skipInboundPorts, skipOutboundPorts] = [portsOf(pod, annotation.skipInboundPorts), portsOf(pod, annotation.skipOutboundPorts)];
  if (skipInboundPorts === undefined || skipOutboundPorts === undefined) return "ports to skip are numbers with commas between, such as 9090,9091";
  const declared = (pod.spec?.containers ?? []).flatMap(({ ports = [] }) => ports).filter(({ protocol = "TCP" }) => protocol === "TCP").map(({ containerPort }) => containerPort);
  const [appPort, ...more] = portsOf(pod, annotation.appPort) ?? [];
  if (more.length > 0 || (appPort === undefined && wishOf(pod, annotation.appPort) !== undefined)) return `${annotation.appPort} is one port`;
  const port = appPort ?? declared[0] ?? defaultAppPort;
  const taken = [port, ...declared].find((one) => proxyPorts.includes(one));
  if (taken !== undefined) return `the app listens on ${taken}, where the proxy does; give it another port`;
  return { intercepted, transparentDefault, inboundMode, skipInboundPorts, skipOutboundPorts, metrics: metrics === "enabled", appPort: port };
}

function portsOf(pod: Pod, name: string): readonly number[] | undefined {
  const ports = (wishOf(pod, name) ?? "").split(",").map((part) => part.trim()).filter((part) => part !== "");
  return ports.every((part) => /^[1-9]\d{0,4}$/.test(part) && Number(part) <= 65_535) ? ports.map(Number) : undefined;
}

/** An annotation, or for `inject` a label. */
function wishOf({ metadata }: Pod, name: string): string | undefined {
  return metadata?.annotations?.[name] ?? (name === annotation.inject ? metadata?.labels?.[name] : undefined);
}

/** Ports that the kubelet connects to. */
function probePorts(containers: readonly Container[]): readonly number[] {
  const ports = containers.flatMap(({ livenessProbe, readinessProbe, startupProbe, ports: declared = [] }) =>
    [livenessProbe, readinessProbe, startupProbe].flatMap((probe) => {
      const port = probe?.httpGet?.port ?? probe?.tcpSocket?.port ?? probe?.grpc?.port;
      if (port === undefined) return [];
      return typeof port === "number" ? [port] : (declared.find(({ name }) => name === port)?.containerPort ?? []);
    }));
  return [...new Set(ports)];
}

const refuse = (why: string): InjectionPlan => ({ kind: "refuse", why });
const quoted = (text: string): string => JSON.stringify(text.slice(0, 40));
const defaultAppPort = 8080;
