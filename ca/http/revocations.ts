import { z } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import type { RevocationPage } from "../contract/revocations.ts";
import type { RenewNotice } from "../contract/watch.ts";
import { describeRevocation } from "../feed/sources.ts";
import { conditional, json } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import { defaultLimit, limit, logPosition } from "./parameters.ts";
import { revocationPage } from "./schemas/revocations.ts";
import type { CaServices } from "./services.ts";

/** The deny-list feed. Public, as any CRL is: it tells who is not to be trusted. */
export function revocationOperations({ store, now, signsAuthorities }: CaServices): readonly Operation[] {
  return [
    operation({
      route: "GET /v1/revocations",
      tag: "revocations",
      summary: "Follow revocations",
      description:
        "Revocations above `after`, ascending. Ask again with the `sequence` of the answer; at once when `more` is " +
        "true. A `sequence` below `after` says that the " +
        "CA was restored from a backup: begin again at 0. With If-None-Match an unchanged feed costs 304.",
      query: z.strictObject({ after: logPosition("The highest sequence you hold; default 0.").optional(), limit }),
      success: { status: 200, description: "A page of the feed.", content: { [mediaType.json]: revocationPage } },
      async handle({ request, query }) {
        const { after = 0, limit: pageSize = defaultLimit } = query;
        // Read before the page: a revocation that lands in between makes the tag old, never the page.
        const { feedEpoch, revocationSequence: newest, announcementSequence } = await store.feedPosition();
        const rows = after >= newest ? [] : await store.revocations({ after, limit: pageSize + 1 });
        const notices = announcementSequence === 0 ? [] : await store.announcements({ after: 0, nowMs: now().getTime(), limit: maxNotices });
        const page = rows.slice(0, pageSize);
        return conditional(request, `"${feedEpoch}.${newest}.${announcementSequence}"`, () =>
          json({
            revocations: page.map((row) => ({ ...describeRevocation(row), ...(signsAuthorities(row.authorityId) && { authority: true as const }) })),
            sequence: page.at(-1)?.sequence ?? Math.min(after, newest),
            more: rows.length > pageSize,
            feedEpoch,
            renew: notices.map(({ body }) => JSON.parse(body) as RenewNotice),
          } satisfies RevocationPage),
        );
      },
    }),
  ];
}

/** Authorities are tainted one at a time, and hardly ever. */
const maxNotices = 16;
