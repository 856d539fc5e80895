import { UsageError } from "./arguments.ts";

/** How an issuer lies in a Kubernetes Secret, and in a folder that is mounted like one. */
export interface SecretScheme {
  readonly name: "linkerd.io/tls" | "kubernetes.io/tls";
  /** The Secret's `type`. */
  readonly type: string;
  /** Name of each part; linkerd's own scheme has the anchors elsewhere. */
  readonly certificate: string;
  readonly key: string;
  readonly anchors?: string;
}

/** An issuer with its key, PEM. */
export interface IssuerMaterial {
  readonly chain: string;
  readonly key: string;
  readonly anchors: string;
}

/**
 * The scheme of this name; `linkerd` is short for its own.
 * @throws {UsageError}
 */
export function secretScheme(name: string): SecretScheme {
  const scheme = schemes.find((one) => one.name === (name === "linkerd" ? "linkerd.io/tls" : name));
  if (scheme === undefined) throw new UsageError(`--secret is linkerd or kubernetes.io/tls, not ${name}.`);
  return scheme;
}

/** The files of a scheme with their content. */
export function secretFiles({ certificate, key, anchors }: SecretScheme, material: IssuerMaterial): Readonly<Record<string, string>> {
  return { [certificate]: material.chain, [key]: material.key, ...(anchors !== undefined && { [anchors]: material.anchors }) };
}

/** The Secret as Kubernetes takes it. @throws {UsageError} for a name Kubernetes does not allow */
export function secretManifest(scheme: SecretScheme, { name, namespace }: SecretPlace, material: IssuerMaterial): SecretManifest {
  for (const text of [name, namespace]) if (!labelForm.test(text)) throw new UsageError(`"${text}" is no name in Kubernetes: lower-case letters, digits and dashes.`);
  const data = Object.entries(secretFiles(scheme, material)).map(([file, content]) => [file, Buffer.from(content).toString("base64")]);
  return { apiVersion: "v1", kind: "Secret", metadata: { name, namespace }, type: scheme.type, data: Object.fromEntries(data) as Record<string, string> };
}

/** The same in YAML. Every value is a plain scalar: names are checked, the rest is base64. */
export function renderManifest({ apiVersion, kind, metadata, type, data }: SecretManifest): string {
  const lines = Object.entries(data).map(([file, content]) => `  ${file}: ${content}\n`);
  return `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata:\n  name: ${metadata.name}\n  namespace: ${metadata.namespace}\ntype: ${type}\ndata:\n${lines.join("")}`;
}

export interface SecretPlace {
  readonly name: string;
  readonly namespace: string;
}

export interface SecretManifest {
  readonly apiVersion: "v1";
  readonly kind: "Secret";
  readonly metadata: SecretPlace;
  readonly type: string;
  readonly data: Readonly<Record<string, string>>;
}

/** linkerd2 charts/linkerd-control-plane/templates/identity.yaml and pkg/issuercerts. */
const schemes: readonly SecretScheme[] = [
  { name: "linkerd.io/tls", type: "Opaque", certificate: "crt.pem", key: "key.pem" },
  { name: "kubernetes.io/tls", type: "kubernetes.io/tls", certificate: "tls.crt", key: "tls.key", anchors: "ca.crt" },
];
/** RFC 1123 label; a Secret's name may have dots besides. */
const labelForm = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
