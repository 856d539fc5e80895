import type { Context } from "hono";
import { problemStatus } from "../contract/problem.ts";
import { Refusal } from "../refusal.ts";
import { clientAddress } from "./address.ts";
import { toResponse } from "./answer.ts";
import { readText } from "./body.ts";
import type { PipelineOptions } from "./operation.ts";
import type { CaServices } from "./services.ts";

/** The handler of everything below /acme/: its requests are signed by themselves, and its refusals are in ACME's own words. */
export function acmeHandler(acme: NonNullable<CaServices["acme"]>, { bodyLimitBytes, nextRequestId, forwarders }: Pick<PipelineOptions, "bodyLimitBytes" | "nextRequestId" | "forwarders">) {
  return async ({ req: { raw }, env }: Context): Promise<Response> => {
    const requestId = nextRequestId();
    const address = clientAddress(env, forwarders, raw.headers.get("x-forwarded-for"));
    const path = new URL(raw.url).pathname.slice("/acme/".length);
    const { status, headers, body } = await readText(raw, bodyLimitBytes).then(
      (text) => acme({ method: raw.method, path, contentType: raw.headers.get("content-type") ?? "", body: text, address }),
      (error: unknown) => {
        if (!(error instanceof Refusal)) throw error;
        return { status: problemStatus[error.code], headers: { "content-type": "application/problem+json" }, body: JSON.stringify({ type: "urn:ietf:params:acme:error:malformed", detail: error.message }) };
      },
    );
    const { "content-type": contentType = "application/json", ...more } = headers;
    return toResponse({ status, body, contentType, headers: more }, requestId, raw);
  };
}
