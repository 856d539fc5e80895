import { isObject, type JsonObject } from "../pki/json.ts";

/** The claim `kubernetes.io` of a bound service-account token, as far as it is objects. @source KEP-1205, KEP-4193 */
export function boundClaims(claims: JsonObject): Readonly<Record<"namespace" | "serviceaccount" | "pod" | "node", unknown>> {
  const { namespace, serviceaccount, pod, node } = objectOf(claims["kubernetes.io"]);
  return { namespace, serviceaccount, pod, node };
}

/** Whose token it says it is, by its private claim: the subject has to say the same. */
export function usernameOfClaims(claims: JsonObject): string {
  const { namespace, serviceaccount } = boundClaims(claims);
  return `system:serviceaccount:${textOf(namespace)}:${textOf(objectOf(serviceaccount)["name"])}`;
}

/** A value's members; none where it is no object. */
export function objectOf(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}

/** A text, or nothing. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
