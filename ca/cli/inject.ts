import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import packageJson from "../../package.json" with { type: "json" };
import type { InjectSettings } from "../inject/containers.ts";
import { encodePem, decodePem } from "../pki/pem.ts";
import { PkiError } from "../pki/errors.ts";
import { parseTrustDomain } from "../pki/spiffe-id.ts";
import { ApiError } from "./api.ts";
import { noMore, readArguments, required, UsageError } from "./arguments.ts";
import { serveInjector } from "./inject-server.ts";
import type { CliIo } from "./io.ts";
import { kubernetesAccess, kubernetesApi, kubernetesOptions } from "./kubernetes.ts";
import { bundlePublisher } from "./kubernetes-publish.ts";
import { injectManifests } from "./manifest-file.ts";
import { endingWith } from "./watching.ts";

/**
 * `countersign inject`: proxies for Kubernetes workloads, in a file or by a webhook.
 * @param stopped  resolves when the process is asked to end
 * @returns 1 when a workload cannot have its proxy
 */
export async function inject(args: readonly string[], io: CliIo, stopped: () => Promise<unknown>): Promise<number> {
  const { values, positionals: [action, ...rest] } = readArguments(args, options);
  if (values.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(rest);
  if (action !== undefined && action !== "serve") throw new UsageError(`there is "inject" for a file and "inject serve" for the webhook, no "inject ${action}".`);
  const settings = readSettings(values);
  if (action === "serve") {
    const whenRefused = values.fail ?? "closed";
    if (whenRefused !== "open" && whenRefused !== "closed") throw new UsageError("--fail is open or closed.");
    if (values.file !== undefined) throw new UsageError("-f is for a file, not for the webhook.");
    const [certFile, keyFile] = [required(values.cert, "--cert", "/certs/cert.pem"), required(values.key, "--key", "/certs/key.pem")];
    const stop = stopped();
    const injector = await serveInjector({ settings: () => readSettings(values), whenRefused, certFile, keyFile, listen: values.listen ?? "*:8443", log: io.stderr });
    io.stderr(`listening on port ${injector.port}\n`);
    try {
      await Promise.all([stop, keepPublishing(values, io, endingWith(() => stop))]);
    } finally {
      await injector.stop();
    }
    return 0;
  }
  const { text, workloads } = injectManifests(await readManifests(values.file, io), settings);
  for (const { workload, plan } of workloads) io.stderr(`${workload}: ${plan.kind === "inject" ? "injected" : `${results[plan.kind]}, ${plan.why}`}\n`);
  const isRefused = workloads.some(({ plan }) => plan.kind === "refuse");
  // Half of a file would be applied by whoever pipes this on.
  if (!isRefused) io.stdout(text);
  return isRefused ? 1 : 0;
}

/** Beside the webhook, since its roots are kept fresh here already. */
async function keepPublishing(values: Values, io: CliIo, ending: AbortSignal): Promise<void> {
  const { webhook, "config-map": configMap, namespaces = "all" } = values;
  if (namespaces !== "all" && namespaces !== "labelled") throw new UsageError("--namespaces is all or labelled.");
  if (webhook === undefined && configMap === undefined) return;
  const access = kubernetesAccess(values, io.env);
  if (access === undefined) throw new UsageError("--webhook and --config-map are for a pod, or name an API server with --kube-url, --kube-token-file and --kube-ca-file.");
  const publish = bundlePublisher({ kubernetes: kubernetesApi(access, "countersign-injector"), roots: () => readSettings(values).roots, webhook, configMap, namespaces, log: io.stderr });
  while (!ending.aborted) {
    await publish();
    await sleep(publishIntervalMs, undefined, { signal: ending }).catch(() => undefined);
  }
}

const results = { skip: "left as it is", refuse: "refused" } as const;

async function readManifests(path: string | undefined, { readStdin }: CliIo): Promise<string> {
  try {
    const bytes = path === undefined || path === "-" ? await readStdin?.(maxManifestBytes) : readFileSync(path);
    return Buffer.from(bytes ?? new Uint8Array()).toString("utf8");
  } catch (cause) {
    throw new ApiError(`cannot read ${path ?? "standard input"} (${(cause as NodeJS.ErrnoException).code ?? (cause as Error).message})`, { cause });
  }
}

function readSettings(values: Values): InjectSettings {
  const caUrl = required(values.ca, "--ca", "https://countersign.countersign.svc:8443");
  if (!URL.canParse(caUrl) || new URL(caUrl).protocol !== "https:") throw new UsageError(`--ca must be an https URL, not ${caUrl}.`);
  const image = (name: string): string => `${name}:${packageJson.version}`;
  return {
    caUrl, trustDomain: readTrustDomain(required(values["trust-domain"], "--trust-domain", "east.example")),
    roots: readRoots(required(values.root, "--root", "root.pem")),
    proxyImage: values["proxy-image"] ?? image("countersign-proxy"), interceptImage: values["intercept-image"] ?? image("countersign-intercept"),
  };
}

function readTrustDomain(text: string): string {
  try {
    return parseTrustDomain(text);
  } catch (cause) {
    if (cause instanceof PkiError) throw new UsageError(`--trust-domain: ${cause.message}`, { cause });
    throw cause;
  }
}

/** Written anew, so that nothing but certificates gets into the annotation. */
function readRoots(path: string): string {
  try {
    return decodePem(readFileSync(path, "utf8"), "CERTIFICATE", { allowText: true }).map((der) => encodePem("CERTIFICATE", der)).join("");
  } catch (cause) {
    throw new ApiError(`cannot read roots from ${path} (${cause instanceof PkiError ? cause.message : (cause as NodeJS.ErrnoException).code}); countersign bundle show -o pem prints them`, { cause });
  }
}

const options = {
  file: { type: "string", short: "f" }, ca: { type: "string" }, "trust-domain": { type: "string" }, root: { type: "string" },
  "proxy-image": { type: "string" }, "intercept-image": { type: "string" },
  ...kubernetesOptions, webhook: { type: "string" }, "config-map": { type: "string" }, namespaces: { type: "string" },
  listen: { type: "string" }, cert: { type: "string" }, key: { type: "string" }, fail: { type: "string" },
} as const;

type Values = { readonly [Name in keyof typeof options]?: string | undefined };

/** A namespace that is new gets its ConfigMap so late; its pods wait for it. */
const publishIntervalMs = 10_000;
const maxManifestBytes = 16 * 1024 * 1024;

const usage = `countersign inject: proxies for workloads on Kubernetes

  countersign inject --ca URL --trust-domain TD --root root.pem < app.yaml
      | kubectl apply -f -
      each pod gets a proxy; whatever else is in the file stays as it is;
      -f FILE in place of standard input
  countersign inject serve --ca URL --trust-domain TD --root root.pem
      --cert cert.pem --key key.pem [--listen "*:8443"]
      the same as a mutating webhook; files are read anew when they change
      --fail open: a pod that cannot have its proxy is made without it;
      closed, the default: it is not made
      --webhook NAME: has the API server trust it, by the roots, as they
      change: this MutatingWebhookConfiguration's caBundle
      --config-map NAME: keeps the roots as root.pem in this ConfigMap, in each
      namespace but those with the label countersign.dev/bundle: disabled;
      --namespaces labelled: only in those where it is enabled
      --kube-url URL, --kube-token-file FILE, --kube-ca-file FILE: the API
      server, outside a pod

  --ca URL                 the CA, as pods reach it
  --root FILE              its roots: countersign bundle show -o pem
  --proxy-image IMAGE      default countersign-proxy:VERSION
  --intercept-image IMAGE  default countersign-intercept:VERSION

A pod or its template says by annotation:
  countersign.dev/inject: disabled         none for this one
  countersign.dev/app-port: "8080"         default: its first port
  countersign.dev/intercept: outbound      or all, or none: what goes through
                                           the proxy without a setting
  countersign.dev/transparent-default: passthrough    or refuse
  countersign.dev/inbound-mode: strict     or audit, permissive
  countersign.dev/skip-inbound-ports: "9090"    and skip-outbound-ports
  countersign.dev/metrics: enabled         the proxy's, for scrapers and probes
                                           on port 4192; or disabled
`;
