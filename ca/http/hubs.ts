import { z } from "@hono/zod-openapi";
import type { FederationHubs, HubHoldingsNote, SubscribeToHubRequest } from "../contract/federation-hubs.ts";
import { mediaType } from "../contract/headers.ts";
import { Refusal } from "../refusal.ts";
import { json, noContent } from "./answer.ts";
import { federationRefresh } from "./schemas/federation.ts";
import { operation, type Operation } from "./operation.ts";
import type { Caller, CaServices } from "./services.ts";

/** Hubs: for fleets in which pairs of trust domains are too many. */
export function hubOperations({ federation }: CaServices): readonly Operation[] {
  return [
    operation({
      route: "GET /v1/hubs",
      tag: "federation",
      summary: "List hubs",
      description: "Those this CA subscribes to, with the last look at each one's list, and where it publishes its own bundle for a hub. Its members are in `GET /v1/federation`.",
      success: { status: 200, description: "All of them.", content: { [mediaType.json]: federationHubs } },
      async handle() {
        const publication = await federation.publication();
        return json({ hubs: await federation.hubs(), key: federation.hubKey, ...(publication && { publication }) } satisfies FederationHubs);
      },
    }),
    operation({
      route: "POST /v1/hubs",
      tag: "federation",
      summary: "Subscribe to a hub",
      description:
        "Federates with every trust domain in the hub's list, one way, and ends that with whoever leaves it. The list is taken by the key in the subscription alone, and each " +
        "bundle by the key that the list names; `refresh.error` of the answer says what kept the list from being read, and it is tried again. Once more, it takes back who was removed here by hand.",
      body: { schema: z.strictObject({ subscription: z.string().min(1).max(4096) }).openapi("SubscribeToHubRequest") satisfies z.ZodType<SubscribeToHubRequest>, example: { subscription: "countersign_hub_..." } },
      success: { status: 201, description: "Subscribed.", content: { [mediaType.json]: hub } },
      refusals: ["federation_refused", "federation_exists", "changed_meanwhile"],
      handle: async ({ caller, body }) => json(await federation.subscribe(body.subscription, known(caller)), 201),
    }),
    operation({
      route: "DELETE /v1/hubs/{name}",
      tag: "federation",
      summary: "Leave a hub",
      description: "Nobody that came by it is believed any more: proxies are told at once and cut the connections that are open.",
      params: z.object({ name: z.string().min(1).max(64).openapi({ description: "Name of the hub.", example: "hub.example" }) }),
      success: { status: 204, description: "Left." },
      refusals: ["not_found", "changed_meanwhile"],
      async handle({ caller, params }) {
        await federation.unsubscribe(params.name, known(caller));
        return noContent();
      },
    }),
    operation({
      route: "GET /v1/hub-bundle",
      tag: "federation",
      summary: "Fetch this CA's bundle as it is in a hub",
      description: "A signed note (C2SP) over trust domain, feed, time and bundle; `countersign federation publish` puts it into a folder or bucket.",
      success: { status: 200, description: "The signed note.", content: { "text/plain": undefined } },
      handle: () => ({ status: 200, body: federation.document(), contentType: "text/plain; charset=utf-8" }),
    }),
    operation({
      route: "GET /v1/hub-holdings",
      tag: "federation",
      summary: "Fetch what else this CA says in a hub",
      description:
        "Signed notes (C2SP). `note`: for each trust domain that came by a hub, which of its bundles is with all proxies here, which to each of them is an acknowledgement. " +
        "`log`: the newest checkpoint of the audit log, and those of others' logs that were cosigned here.",
      success: { status: 200, description: "The signed notes.", content: { [mediaType.json]: z.object({ note: z.string(), log: z.string().exactOptional() }).openapi("HubHoldings") satisfies z.ZodType<HubHoldingsNote> } },
      async handle() {
        const [note, log] = [await federation.holdingsDocument(), await federation.logDocument()];
        return json({ note, ...(log !== undefined && { log }) } satisfies HubHoldingsNote);
      },
    }),
  ];
}

/** The routes' rules have no public case, so there is a caller. */
function known(caller: Caller | undefined): Caller {
  if (caller === undefined) throw new Refusal("unauthenticated", "Whom to believe is decided by admins.");
  return caller;
}

const instant = z.iso.datetime();
const hub = z.object({
  name: z.string(), url: z.string(), key: z.string().openapi({ description: "C2SP verifier key." }), addedAt: instant, addedBy: z.string(),
  list: z.object({ sequence: z.number().int(), signedAt: instant, validUntil: instant.exactOptional(), members: z.number().int() }).exactOptional().openapi({ description: "The newest one that was taken; from `validUntil` on nobody is believed by it." }),
  excluded: z.array(z.string()).readonly().exactOptional().openapi({ description: "Removed here by hand, though the hub has them." }),
  kept: z.array(z.string()).readonly().exactOptional().openapi({ description: "Federated with by another way, which stays." }),
  own: z.enum(["listed", "other-key", "absent"]).exactOptional().openapi({ description: "How the list has this CA." }),
  refresh: federationRefresh.exactOptional(),
}).openapi("FederationHub");
const federationHubs = z.object({
  hubs: z.array(hub).readonly(), key: z.string().openapi({ description: "C2SP verifier key of this CA, by which a hub's owner admits it." }),
  publication: z.object({ where: z.string(), refresh: federationRefresh.exactOptional() }).exactOptional(),
}).openapi("FederationHubs") satisfies z.ZodType<FederationHubs>;
