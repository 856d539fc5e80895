import { z } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import type { SignInLink } from "../contract/sign-ins.ts";
import { dashboardSessions } from "../dashboard/sessions.ts";
import { Refusal } from "../refusal.ts";
import { json } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import type { CaServices } from "./services.ts";

/** Into the dashboard with whatever signs requests: an SVID's key is nothing for a browser. */
export function signInOperations(services: Pick<CaServices, "store" | "now" | "tokenCaller" | "operators">): readonly Operation[] {
  const sessions = dashboardSessions(services);
  return [
    operation({
      route: "POST /v1/sign-ins",
      tag: "operators",
      summary: "Sign in to the dashboard",
      description:
        "For `countersign dashboard`: the answer is the path of a page that signs a browser in as the caller, once, within two minutes. The session has the " +
        "caller's role as it is at each moment, and ends with its token or with the certificate whose key signed.",
      success: { status: 201, description: "The way in.", content: { [mediaType.json]: signInLink } },
      async handle({ caller }) {
        // The route's rule has no public case; if it ever had, nobody must not sign in.
        if (caller === undefined) throw new Refusal("unauthenticated", "Signing in is for callers that are known.");
        return json(await sessions.offer(caller), 201);
      },
    }),
  ];
}

const signInLink = z
  .object({ path: z.string().openapi({ description: "Below the CA's URL; a secret.", example: "/ui/sign-in/..." }), expiresAt: z.iso.datetime({ precision: 3 }) })
  .openapi("SignInLink");

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
/** As in `schemas.ts`. */
export const signInSchemaKeepsTheContract: Same<z.infer<typeof signInLink>, SignInLink> = true;
