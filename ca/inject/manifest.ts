import type { InjectSettings } from "./containers.ts";
import { planInjection, type InjectionPlan } from "./injection.ts";
import type { Pod } from "./pod.ts";
import { isObject } from "../pki/json.ts";

/** A workload in a Kubernetes object, and what becomes of its pods. */
export interface PlannedWorkload {
  /** Kind and name, e.g. `Deployment cart`. */
  readonly workload: string;
  /** Where in the object the pod, or the template for pods, is. */
  readonly path: readonly (string | number)[];
  readonly pod: Pod;
  readonly plan: InjectionPlan;
}

/** Finds the workloads of a Kubernetes object, or of a List of them, and plans their proxies. */
export function planManifest(document: unknown, settings: InjectSettings): readonly PlannedWorkload[] {
  if (!isObject(document)) return [];
  if (document["kind"] === "List" && Array.isArray(document["items"])) {
    return document["items"].flatMap((item, index) => planManifest(item, settings).map((found) => ({ ...found, path: ["items", index, ...found.path] })));
  }
  const kind = String(document["kind"]);
  const path = Object.hasOwn(podPaths, kind) ? podPaths[kind] : undefined;
  const pod = path?.reduce<unknown>((value, name) => (isObject(value) ? value[name] : undefined), document);
  if (path === undefined || !isObject(pod)) return [];
  const name = isObject(document["metadata"]) ? String(document["metadata"]["name"] ?? "") : "";
  return [{ workload: `${kind} ${name}`.trim(), path, pod: pod as Pod, plan: planInjection(pod as Pod, settings) }];
}

const podPaths: Readonly<Record<string, readonly string[]>> = {
  Pod: [],
  Deployment: ["spec", "template"], StatefulSet: ["spec", "template"], DaemonSet: ["spec", "template"], ReplicaSet: ["spec", "template"], Job: ["spec", "template"],
  CronJob: ["spec", "jobTemplate", "spec", "template"],
};
