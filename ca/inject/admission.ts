import type { InjectSettings } from "./containers.ts";
import { planInjection, type Injection } from "./injection.ts";
import type { Pod } from "./pod.ts";
import { isObject } from "../pki/json.ts";

/** The API server's answer to "may this pod be made, and how?". @source Kubernetes admission.k8s.io/v1 */
export interface AdmissionAnswer {
  readonly apiVersion: "admission.k8s.io/v1";
  readonly kind: "AdmissionReview";
  readonly response: {
    readonly uid: string;
    readonly allowed: boolean;
    readonly patchType?: "JSONPatch";
    /** Base64 of JSON. */
    readonly patch?: string;
    readonly status?: { readonly code: number; readonly message: string };
    readonly warnings?: readonly string[];
  };
}

/** One operation of a JSON patch. @source RFC 6902 */
export interface PatchOperation {
  readonly op: "add";
  readonly path: string;
  readonly value: unknown;
}

/**
 * Answers an AdmissionReview.
 * @param whenRefused  `closed`: a pod that cannot have the proxy it asked for is not made; `open`: it is made without, with a warning
 * @returns undefined for what is no AdmissionReview of version 1
 */
export function reviewAdmission(review: unknown, settings: InjectSettings, whenRefused: "open" | "closed"): AdmissionAnswer | undefined {
  if (!isObject(review) || review["apiVersion"] !== "admission.k8s.io/v1" || review["kind"] !== "AdmissionReview") return undefined;
  const request = review["request"];
  if (!isObject(request) || typeof request["uid"] !== "string") return undefined;
  const { uid, object, operation } = request;
  const kind = isObject(request["kind"]) ? request["kind"]["kind"] : undefined;
  // Containers cannot be added later on; other kinds come by a wrong rule.
  if (operation !== "CREATE" || kind !== "Pod" || !isPod(object)) return answer(uid, { allowed: true });
  const plan = planInjection(object, settings);
  if (plan.kind === "inject") {
    const patch = Buffer.from(JSON.stringify(patchOf(object, plan.injection))).toString("base64");
    return answer(uid, { allowed: true, patchType: "JSONPatch", patch });
  }
  if (plan.kind === "skip") return answer(uid, { allowed: true });
  const message = `no Countersign proxy for this pod: ${plan.why}`;
  return whenRefused === "open" ? answer(uid, { allowed: true, warnings: [message] }) : answer(uid, { allowed: false, status: { code: 400, message } });
}

/** The same as `applyInjection`, as operations. */
export function patchOf({ metadata, spec }: Pod, { initContainers, volume, annotations }: Injection): readonly PatchOperation[] {
  const add = (path: string, value: unknown): PatchOperation => ({ op: "add", path, value });
  return [
    ...(metadata?.annotations === undefined ? [add("/metadata/annotations", annotations)]
      : Object.entries(annotations).map(([name, value]) => add(`/metadata/annotations/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`, value))),
    ...(spec?.volumes === undefined ? [add("/spec/volumes", [volume])] : [add("/spec/volumes/-", volume)]),
    ...(spec?.initContainers === undefined ? [add("/spec/initContainers", initContainers)] : initContainers.map((container, index) => add(`/spec/initContainers/${index}`, container))),
  ];
}

const answer = (uid: string, rest: Omit<AdmissionAnswer["response"], "uid">): AdmissionAnswer => ({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid, ...rest } });

function isPod(value: unknown): value is Pod {
  return isObject(value) && isObject(value["spec"]) && Array.isArray(value["spec"]["containers"]);
}
