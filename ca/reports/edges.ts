import type { EdgeGroups, EdgeList } from "../contract/edges.ts";
import { groupTalks } from "./edge-groups.ts";
import { summarizeTalk, type Talk } from "./edge-tally.ts";
import type { Reported } from "./reading.ts";

export interface EdgeQuery {
  /** Asked of both IDs: what neither is in is left out. */
  readonly isInView: (spiffeId: string) => boolean;
  /** Part of one of the IDs. */
  readonly search?: string | undefined;
  /** One of the IDs. */
  readonly spiffeId?: string | undefined;
  readonly secured?: boolean | undefined;
}

export interface EdgePageQuery extends EdgeQuery {
  readonly offset: number;
  readonly limit: number;
}

/** Makes the readings of who talks to whom: as a list, and put together into groups. */
export function edgeReaders(reported: () => Promise<Reported>) {
  return {
    async edges({ offset, limit, ...query }: EdgePageQuery): Promise<Omit<EdgeList, "nextCursor">> {
      const { talks: all, proxies, talksLeftOut } = await reported();
      const talks = choose(all, query);
      return {
        edges: talks.slice(offset, offset + limit).map(summarizeTalk), total: talks.length, unsecured: talks.filter(({ secured }) => !secured).length,
        proxies: proxies.filter(({ spiffeId }) => query.isInView(spiffeId)).length, truncated: talksLeftOut,
      };
    },
    /** @param most  groups there may be */
    async edgeGroups({ most, ...query }: EdgeQuery & { readonly most: number }): Promise<EdgeGroups> {
      return groupTalks(choose((await reported()).talks, query), most);
    },
  };
}

function choose(talks: readonly Talk[], { isInView, search = "", spiffeId, secured }: EdgeQuery): readonly Talk[] {
  const seen = new Map<string, boolean>();
  const inView = (id: string): boolean => {
    const known = seen.get(id) ?? (id !== "" && isInView(id));
    seen.set(id, known);
    return known;
  };
  return talks.filter((talk) => (
    (secured === undefined || talk.secured === secured)
    && (spiffeId === undefined || talk.clientId === spiffeId || talk.serverId === spiffeId)
    && (talk.clientId.includes(search) || talk.serverId.includes(search))
    && (inView(talk.clientId) || inView(talk.serverId))
  ));
}
