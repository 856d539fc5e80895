import { Agent, type AgentOptions, type ClientRequest, type RequestOptions } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { formatSocketAddress } from "../address.ts";
import type { IdentitySource } from "../identity/source.ts";
import type { Destination, Dial, DialedServer } from "./dial.ts";

/** Keeps connections to servers open between requests. */
export interface Pool {
  readonly agent: Agent;
  /** What a request hands to the agent. */
  connectTo(destination: Destination): RequestOptions;
  /** Resets a connection the agent has opened. */
  reset(socket: Socket): void;
  close(): void;
}

/**
 * Makes the pool of mTLS connections to HTTP servers: one pool for each destination and identity of ours. Trust is not part of
 * the key: `trackConnections` judges every pooled connection again when trust changes, and a revocation anywhere would
 * otherwise throw away all connections everywhere.
 */
export function connectionPool(dial: Dial, source: IdentitySource, maxConnections: number): Pool {
  const agent = new Agent({
    keepAlive: true, timeout: poolIdleMs, maxSockets: maxPerDestination, maxFreeSockets: maxIdlePerDestination, maxTotalSockets: maxConnections,
  } satisfies AgentOptions);
  const pooled = new Map<Socket, Pooled>();

  function retire(socket: Socket): void {
    const entry = pooled.get(socket);
    if (entry === undefined) return;
    entry.retired = true;
    if (entry.idle) socket.destroySoon();
  }

  async function open(destination: Destination): Promise<Socket> {
    const dialed = await dial(destination, { allowHalfOpen: false, retire });
    const { socket, identity } = dialed;
    pooled.set(socket, { dialed, idle: false, retired: source.identity() !== identity });
    socket.once("close", () => pooled.delete(socket));
    return socket;
  }

  agent.getName = (options) => (options as PoolOptions | undefined)?.poolKey ?? "";
  agent.createConnection = (options, callback) => {
    const { destination } = options as unknown as PoolOptions;
    // The callback's second argument is only read when there is no error.
    open(destination).then((socket) => callback?.(null, socket), (error: Error) => callback?.(error, undefined as unknown as Duplex));
    return undefined;
  };
  const { keepSocketAlive, reuseSocket } = agent as PoolingAgent;
  Object.assign(agent, {
    keepSocketAlive(socket: Socket): boolean {
      const entry = pooled.get(socket);
      if (entry === undefined || entry.retired) return false;
      entry.idle = true;
      return keepSocketAlive.call(agent, socket);
    },
    reuseSocket(socket: Socket, request: ClientRequest): void {
      const entry = pooled.get(socket);
      if (entry !== undefined) entry.idle = false;
      reuseSocket.call(agent, socket, request);
    },
  } satisfies Partial<PoolingAgent>);

  const unsubscribe = source.onChange((what) => {
    if (what !== "identity") return;
    const current = source.identity();
    for (const [socket, { dialed }] of [...pooled]) if (dialed.identity !== current) retire(socket);
  });

  return {
    agent,
    connectTo(destination) {
      const { address, serverId } = destination;
      const poolKey = `${formatSocketAddress(address)} ${serverId.uri} ${source.identity()?.serialNumber}`;
      return { poolKey, destination } satisfies PoolOptions as RequestOptions;
    },
    reset: (socket) => pooled.get(socket)?.dialed.reset(),
    close() {
      unsubscribe();
      agent.destroy();
    },
  };
}

interface PoolOptions {
  readonly poolKey: string;
  readonly destination: Destination;
}

interface Pooled {
  readonly dialed: DialedServer;
  /** In the agent's hands, no request on it. */
  idle: boolean;
  /** Not to be used for another request. */
  retired: boolean;
}

/** Documented methods of the agent that the types leave out. @source nodejs.org/api/http.html, agent.keepSocketAlive */
type PoolingAgent = Agent & {
  keepSocketAlive(socket: Socket): boolean;
  reuseSocket(socket: Socket, request: ClientRequest): void;
};

/** Well below the 75 s for which the other side's server keeps an idle connection. */
const poolIdleMs = 30_000;
/** Requests beyond this wait for a connection; HTTP/1.1 carries one at a time. */
const maxPerDestination = 1024;
const maxIdlePerDestination = 256;
