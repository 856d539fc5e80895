import { setImmediate } from "node:timers/promises";
import type { EdgeSummary, SeenEdge } from "../contract/edges.ts";
import { inTextOrder } from "./text-order.ts";

/** All that is said of one pair, for one reason. */
export interface Talk {
  readonly clientId: string;
  readonly serverId: string;
  readonly secured: boolean;
  /** Why it is not. */
  readonly reason: string | undefined;
  readonly protocols: readonly string[];
  readonly inbound: number;
  readonly outbound: number;
  readonly lastSeenMs: number;
}

/**
 * Puts together what proxies see: one talk for each pair and what is said of its security. Of a pair that one side calls secured and
 * the other does not, both are told: it is for people to see. Each pair is kept once, however many report it.
 */
export function edgeTally() {
  const names = new Map<string, string>();
  /** By client, server and reason. */
  const clients = new Map<string, Map<string, Map<string | undefined, Counted>>>();
  /** By who reported them first. */
  const sizes = new Map<string, number>();
  let size = 0;
  let full = false;

  /** One string for each name. */
  function known(name: string): string {
    const held = names.get(name);
    if (held === undefined) names.set(name, name);
    return held ?? name;
  }

  function place(reporter: string, clientId: string, serverId: string, secured: boolean, reason: string | undefined): Counted | undefined {
    const servers = clients.get(clientId) ?? new Map<string, Map<string | undefined, Counted>>();
    const reasons = servers.get(serverId) ?? new Map<string | undefined, Counted>();
    const found = reasons.get(reason);
    if (found !== undefined) return found;
    const ofReporter = sizes.get(reporter) ?? 0;
    if (size >= maxTalks || ofReporter >= maxTalksOfOne) {
      full = true;
      return undefined;
    }
    size += 1;
    sizes.set(reporter, ofReporter + 1);
    const made: Counted = { clientId: known(clientId), serverId: known(serverId), secured, reason, protocols: [], inbound: -1, outbound: -1, lastSeenMs: 0 };
    if (servers.size === 0) clients.set(made.clientId, servers);
    if (reasons.size === 0) servers.set(made.serverId, reasons);
    reasons.set(reason, made);
    return made;
  }

  /** A word of the reporter's own making: kept once, and few of them. */
  function noteProtocol({ protocols }: Counted, protocol: string): void {
    if (protocols.includes(protocol)) return;
    if (protocols.length < maxProtocols) protocols.push(known(protocol));
    else full = true;
  }

  return {
    /**
     * @param reporter  the workload whose proxy saw them
     * @returns         counts them; what is never counted is in no talk
     */
    note(reporter: string, edges: readonly SeenEdge[], reportedAtMs: number): () => void {
      const seen = edges.flatMap(({ direction, clientId, serverId, secured, reason, protocol, connections }) => {
        // What is not said to be secured, or not why it is not, is not secured.
        const talk = place(reporter, clientId, serverId, secured, secured ? undefined : (reason ?? "unknown"));
        return talk === undefined ? [] : [{ talk, direction, connections, protocol }];
      });
      return () => {
        for (const { talk, direction, connections, protocol } of seen) {
          talk[direction] = Math.max(0, talk[direction]) + connections;
          if (protocol !== undefined) noteProtocol(talk, protocol);
          talk.lastSeenMs = Math.max(talk.lastSeenMs, reportedAtMs);
        }
      };
    },
    /** Those that were counted, by client, then server; others have their turn meanwhile. */
    async talks(): Promise<readonly Talk[]> {
      const sorted: Talk[] = [];
      let looked = 0;
      for (const [, servers] of [...clients].sort(byName)) {
        for (const [, talks] of [...servers].sort(byName)) {
          sorted.push(...[...talks.values()].filter(({ inbound, outbound }) => inbound >= 0 || outbound >= 0).sort((a, b) => inTextOrder(a.reason ?? "", b.reason ?? "")));
          looked += 1;
          if (looked % talksAtOnce === 0) await setImmediate();
        }
      }
      return sorted;
    },
    isFull: () => full,
  };
}

/** Each connection has two ends, and one may have no proxy or not have reported yet. */
export function summarizeTalk({ clientId, serverId, secured, reason, protocols, inbound, outbound, lastSeenMs }: Talk): EdgeSummary {
  return {
    clientId, serverId, secured, ...(reason !== undefined && { reason }), protocols: [...protocols].sort(), connections: Math.max(inbound, outbound),
    seenBy: [...(outbound >= 0 ? ["client" as const] : []), ...(inbound >= 0 ? ["server" as const] : [])], lastSeen: new Date(lastSeenMs).toISOString(),
  };
}

interface Counted extends Talk {
  readonly protocols: string[];
  /** Connections as the server's side counts them; -1: it did not report. */
  inbound: number;
  /** As the client's side does. */
  outbound: number;
  lastSeenMs: number;
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return inTextOrder(a, b);
}

/** Some 60 MB: ten for each of 20 000 proxies. */
const maxTalks = 200_000;
/** So that one that makes up whom it talks to, under a certificate after the other, hides nobody else's. */
const maxTalksOfOne = 10_000;
/** Proxies tell half a dozen apart. */
const maxProtocols = 16;
/** Some milliseconds. */
const talksAtOnce = 5_000;
