import { z } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import { sourceNames } from "../feed/cursor.ts";
import { operation, type Operation } from "./operation.ts";
import type { CaServices } from "./services.ts";

/** The feed as a stream. */
export function watchOperations(services: CaServices): readonly Operation[] {
  return [
    operation({
      route: "GET /v1/watch",
      tag: "trust",
      summary: "Follow bundle and revocations",
      description:
        "Server-sent events: `epoch` first, then `bundle`, `revocation`, `renew`, `policy`, `tap` and `federation` with all that is behind Last-Event-ID, and from " +
        "then on whatever comes. An unchanged bundle is left out; a `revocation` comes always, and one whose `more` is false " +
        "says that the list is known whole. Comments show that the connection lives. GET /v1/bundle and GET /v1/revocations tell the " +
        "same to whoever has to poll. Who signs the request, or has a token, has a place before strangers, who share a quarter of them; so has a federated CA that signs it by its API's key.",
      query: z.strictObject({
        events: z.string().max(100).transform((text) => text.split(",")).pipe(z.array(z.enum(sourceNames)).min(1).max(sourceNames.length)).optional()
          .openapi({ type: "string", description: "Only these, with commas in between; for the CA of another trust domain: bundle.", example: "bundle" }),
      }),
      headers: z.object({
        "last-event-id": z.string().optional().openapi({ description: "`id` of the last event that was taken in; opaque." }),
      }),
      success: { status: 200, description: "Events, without end.", content: { [mediaType.eventStream]: undefined } },
      refusals: ["watchers_full"],
      async handle({ request, caller, address, query }) {
        // Answered by the GET handler without its body: a stream would be opened for nobody.
        const follower = { proven: caller !== undefined, name: caller?.actor ?? address };
        const body = request.method === "HEAD" ? null : await services.watch(request.headers.get("last-event-id") ?? undefined, follower, query.events);
        return { status: 200, body, contentType: mediaType.eventStream, headers: unbuffered };
      },
    }),
  ];
}

/** Asks what is in between to hand each event on at once: `no-transform` keeps it from being compressed, the other one is nginx's. */
const unbuffered = { "cache-control": "no-store, no-transform", "x-accel-buffering": "no" };
