import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import type { RoleRule } from "./kubernetes-api.ts";

/** Folder of the Kubernetes manifests. */
export const manifestsFolder = fileURLToPath(new URL("../../infra/kubernetes", import.meta.url));
/** Paths of the manifests in it, without kustomizations. */
export const manifestFiles = readdirSync(manifestsFolder, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".yaml") && !path.endsWith("kustomization.yaml"));

/** Every object of all manifests. */
export function readManifests<T>(): readonly T[] {
  return manifestFiles.flatMap((path) => parseAllDocuments(readFileSync(join(manifestsFolder, path), "utf8")).map((document) => document.toJS() as T));
}

/** What a service account of the manifests may do. */
export function rulesOf(serviceAccount: string): readonly RoleRule[] {
  const objects = readManifests<{
    readonly kind: string; readonly metadata: { readonly name: string; readonly namespace?: string }; readonly rules?: readonly RoleRule[];
    readonly roleRef?: { readonly kind: string; readonly name: string }; readonly subjects?: readonly { readonly name: string }[];
  }>();
  return objects.filter(({ kind, subjects = [] }) => kind.endsWith("RoleBinding") && subjects.some(({ name }) => name === serviceAccount)).flatMap(({ kind, roleRef, metadata }) => {
    const role = objects.find((one) => one.kind === roleRef?.kind && one.metadata.name === roleRef.name);
    return (role?.rules ?? []).map((rule) => ({ ...rule, ...(kind === "RoleBinding" && { namespace: metadata.namespace ?? "countersign" }) }));
  });
}
