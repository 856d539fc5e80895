import { Socket } from "node:net";
import pg from "pg";
import { connectionOptions, isLastWord, isRefusal, requireWritable, unreachable } from "./postgres-connection.ts";
import type { StoreError } from "./errors.ts";

/** What this process knows of its way to Postgres, so that no request waits for a database that is known to be away. */
export interface PostgresLink {
  /** For every connection of the store, to the host that is in use now: those that hang when the database is lost are cut. */
  options(): pg.ClientConfig;
  /** Called when another host is used from now on. */
  onMove(listener: () => void): void;
  /** Why the database is away; undefined while it is not. */
  lost(): StoreError | undefined;
  /** @throws {StoreError} store_unavailable, at once, while the database is away */
  require(): void;
  /** A connection broke: looks now. */
  suspect(): void;
  /**
   * Looks now, unless it did within the last second, by a clock that goes on while this process is frozen. Connections that nobody used for
   * long are cut rather than trusted: their other end may be gone and not say so. @throws {StoreError} store_unavailable
   */
  awake(): Promise<void>;
  /** A connection was made that requests will use: it answered, so nobody has to look. */
  greeted(askedAtMs: number, databaseMs: number): void;
  /** The database's clock by now; undefined before the first look, and when the last one was long ago or slow. */
  databaseTimeMs(): number | undefined;
  close(): Promise<void>;
}

/**
 * Looks once a second, on a connection of its own, whether the database answers and takes writes, and four times a second while
 * it does not. When it is found lost, all connections are cut: what waits for an answer on them is refused rather than left to
 * hang until the network gives up. Where there are several hosts, the next one that takes writes is used then.
 * @param hosts  URLs of one database, first the one that is used
 */
export function postgresLink(hosts: readonly [string, ...string[]], { readOnly, borrow }: LinkOptions): PostgresLink {
  const sockets = new Set<Socket>();
  const listeners: (() => void)[] = [];
  let host = 0;
  let watch: Watch | undefined;
  let clock: { readonly databaseMs: number; readonly atMs: number } | undefined;
  let lost: StoreError | undefined;
  let looking: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  let lookedAtMs = -Infinity;

  function options(): pg.ClientConfig {
    return { ...connectionOptions(hosts[host]!), stream: openSocket };
  }

  function openSocket(): Socket {
    const socket = new Socket();
    sockets.add(socket);
    return socket.once("close", () => sockets.delete(socket));
  }

  async function look(): Promise<void> {
    clearTimeout(timer);
    try {
      await ask();
      lost = undefined;
      lookedAtMs = Date.now();
    } catch (cause) {
      if (!othersStand(cause)) {
        if (!closed) lost = unreachable(cause);
        cutAll();
      }
    }
    if (!closed && borrow === undefined) schedule();
  }

  /** A server that is there and takes no further session (too many of them, a password that was changed) says nothing of those that it has. */
  function othersStand(cause: unknown): boolean {
    return borrow === undefined && lost === undefined && isRefusal(cause) && sockets.size > 0;
  }

  function cutAll(): void {
    watch = undefined;
    for (const socket of sockets) socket.destroy();
  }

  function note(askedAtMs: number, databaseMs: number): void {
    const answeredAtMs = performance.now();
    if (answeredAtMs - askedAtMs < maxRoundTripMs) clock = { databaseMs, atMs: (askedAtMs + answeredAtMs) / 2 };
  }

  async function ask(): Promise<void> {
    if (borrow !== undefined) return askBorrowed(borrow);
    if (watch?.ended() !== false) watch = await connect();
    const { client, ended } = watch;
    const askedAtMs = performance.now();
    const databaseMs = await requireWritable(client).catch(async (cause) => {
      // Ours was ended while we asked, and that says nothing of the others; one that stands and does not answer does.
      if (!ended() && !isLastWord(cause) && !stoodStill(askedAtMs)) throw cause;
      void client.end().catch(() => undefined);
      watch = await connect();
      return requireWritable(watch.client);
    });
    note(askedAtMs, databaseMs);
  }

  /** By the connection that requests have: one that was ended while nobody used it says nothing and is replaced. */
  async function askBorrowed(borrow: () => Promise<pg.PoolClient>): Promise<void> {
    for (let tried = 1; ; tried++) {
      let ended = false;
      const onEnd = () => void (ended = true);
      let client: pg.PoolClient | undefined;
      let askedAtMs = Infinity;
      try {
        client = await borrow();
        client.once("end", onEnd).once("error", onEnd);
        askedAtMs = performance.now();
        note(askedAtMs, await requireWritable(client, answerTimeoutMs));
        client.off("end", onEnd).off("error", onEnd);
        return client.release();
      } catch (cause) {
        ended ||= client !== undefined && (isLastWord(cause) || stoodStill(askedAtMs));
        client?.release(true);
        if (closed || tried > hosts.length || (hosts.length === 1 && !ended)) throw cause;
        if (!ended) moveOn();
      }
    }
  }

  async function connect(): Promise<Watch> {
    for (let tried = 1; ; tried++) {
      try {
        return await connectTo(options());
      } catch (cause) {
        if (tried >= hosts.length || closed || othersStand(cause)) throw cause;
        moveOn();
      }
    }
  }

  /** What is connected is connected to a host that is lost, or only reads by now. */
  function moveOn(): void {
    host = (host + 1) % hosts.length;
    cutAll();
    for (const listener of listeners) listener();
  }

  async function connectTo(target: pg.ClientConfig): Promise<Watch> {
    const socket = openSocket();
    const client = new pg.Client({ ...target, stream: () => socket, query_timeout: answerTimeoutMs });
    let ended = false;
    const connected: Watch = { client, ended: () => ended };
    // Without a listener the end of an idle connection would end the process. The server's last word comes before the socket closes.
    client.on("error", () => {
      ended = true;
      // One that a look gave up is looked for again in its time.
      if (watch === connected) suspect();
    });
    client.on("end", () => (ended = true));
    try {
      await client.connect();
      if (hosts.length > 1) await requireWritable(client);
      return connected;
    } catch (cause) {
      sockets.delete(socket);
      socket.destroy();
      throw cause;
    }
  }

  function suspect(): void {
    if (closed || readOnly) return;
    looking ??= look().finally(() => (looking = undefined));
  }

  function schedule(): void {
    timer = setTimeout(suspect, lost === undefined ? lookEveryMs : retryMs).unref();
  }

  if (borrow === undefined) suspect();
  return {
    options,
    greeted(askedAtMs, databaseMs) {
      note(askedAtMs, databaseMs);
      lost = undefined;
      lookedAtMs = Date.now();
    },
    lost: () => lost,
    onMove: (listener) => void listeners.push(listener),
    require() {
      if (lost !== undefined) throw lost;
    },
    suspect,
    async awake() {
      // What the connections were told while this process stood still comes first: one that was ended is not asked.
      await new Promise((resolve) => setImmediate(resolve));
      const idleMs = Math.abs(Date.now() - lookedAtMs);
      if (lost !== undefined || idleMs > freshForMs) {
        if (idleMs > trustedForMs && Number.isFinite(idleMs)) {
          cutAll();
          // Until those who hold them have heard of it.
          await new Promise((resolve) => setImmediate(resolve));
        }
        suspect();
      }
      await looking;
      if (lost !== undefined) throw lost;
    },
    databaseTimeMs() {
      const sinceMs = performance.now() - (clock?.atMs ?? -Infinity);
      return clock === undefined || sinceMs > clockGoodForMs ? undefined : clock.databaseMs + sinceMs;
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await looking;
      await watch?.client.end();
    },
  };
}

/** Whether this process was stopped or busy while it asked: the answer may have come in time, and nobody read it. */
function stoodStill(askedAtMs: number): boolean {
  return performance.now() - askedAtMs > answerTimeoutMs + maxTimerLagMs;
}

export interface LinkOptions {
  readonly readOnly: boolean;
  /** Gives the connection that requests have, to look by it: then no timer looks but `awake`, before each request. */
  readonly borrow?: () => Promise<pg.PoolClient>;
}

interface Watch {
  readonly client: pg.Client;
  /** By the server or by the network: it will answer nothing more. */
  ended(): boolean;
}

/** Of `awake`. */
const freshForMs = 1_000;
/** Below what firewalls and servers keep of a connection that is silent. */
const trustedForMs = 30_000;
const lookEveryMs = 1_000;
/** How late we notice that the database is back; well within the 5 s in which issuing must resume. */
const retryMs = 250;
/** A database that does not answer so simple a question for so long is as good as away: the longest that a request waits for one. */
const answerTimeoutMs = 3_000;
const maxTimerLagMs = 1_000;
/** The database's answer is up to this old when we read it: little against the tolerance of the clocks. */
const maxRoundTripMs = 1_000;
const clockGoodForMs = 30_000;
