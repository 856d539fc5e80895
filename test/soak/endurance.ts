import { setTimeout as delay } from "node:timers/promises";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { mountSmallDisk } from "../support/small-disk.ts";
import { startLoad } from "./load.ts";
import type { Measure } from "./messages.ts";
import { soakProxies, type SoakProxy } from "./proxies.ts";
import { troublesOf } from "./troubles.ts";

/** How much of it. */
export interface EnduranceOptions {
  /** Connections that are opened and left alone. */
  readonly idleConnections: number;
  /** Of all proxies together, beside those that troubles bring. */
  readonly rotations: number;
  /** How long each trouble lasts. */
  readonly troubleMs: number;
  /** How much faster the proxies' identities live: a certificate is renewed after a second of theirs. */
  readonly scale: number;
  readonly report: (line: string) => void;
}

export interface EnduranceResult {
  readonly rotations: number;
  readonly done: number;
  /** What was not answered as it should be; nothing may be here. */
  readonly failures: readonly string[];
  /** By proxy: after the first tenth of the rotations, and after the last; and how many certificates its peers had meanwhile. */
  readonly measures: Readonly<Record<string, { readonly before: Measure; readonly after: Measure; readonly rotations: number; readonly peerCertificates: number }>>;
  /** Of the two proxies an idle connection passes. */
  readonly idle: { readonly connections: number; readonly rssBytesPerConnection: Readonly<Record<string, number>>; readonly served: boolean };
}

/** Three proxies under load, to which everything happens that must not be noticed. @throws when one does not recover */
export async function endure({ idleConnections, rotations, troubleMs, scale, report }: EnduranceOptions): Promise<EnduranceResult> {
  const ends: (() => unknown)[] = [];
  try {
    const disk = mountSmallDisk(8 * 1024 * 1024);
    if (disk !== undefined) ends.push(() => disk.dispose());
    const web = await listening(createHttpServer((request, response) => response.end(request.url)), ends);
    const echo = await listening(createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void socket.on("error", () => undefined).pipe(socket)), ends);
    const startProxy = soakProxies({ scale });
    const start = async (name: string, ...args: readonly string[]): Promise<SoakProxy> => {
      const state = disk === undefined ? [] : ["--state-dir", join(disk.path, name)];
      const proxy = await startProxy(name, ...state, "--max-connections", String(idleConnections + 500), ...args);
      ends.push(() => proxy.stop());
      await until(`${name} to be ready`, () => proxy.ready());
      return proxy;
    };
    const world = await start("world", "--outbound", "off", "--app", `127.0.0.1:${web}`);
    const database = await start("database", "--outbound", "off", "--app", `127.0.0.1:${echo}`, "--inbound-protocol", "tcp");
    const hello = await start(
      "hello", "--inbound", "off", "--route", `world=${world.inbound},spiffe://east/world`, "--tcp", `127.0.0.1:0=${database.inbound},spiffe://east/database`,
    );
    const proxies = [hello, world, database];
    const tcpPort = Number(hello.outbound[1]!.split(":").at(-1));

    const load = startLoad(hello.outbound[0]!, tcpPort);
    ends.push(() => load.stop());
    const issued = (): number => proxies.reduce((sum, proxy) => sum + proxy.issued(), 0);
    const rotate = async (count: number): Promise<void> => {
      const goal = issued() + count;
      await until(`${count} rotations`, async () => issued() >= goal, count * 1000 + 60_000);
    };
    const measureAll = async (): Promise<Measure[]> => {
      await load.pause();
      const measures = await Promise.all(proxies.map((proxy) => proxy.measure()));
      load.resume();
      return measures;
    };

    for (const trouble of troublesOf(proxies, disk?.path)) {
      const [done, before, sinceMs] = [load.done(), proxies.map((proxy) => proxy.issued()), performance.now()];
      await trouble.begin();
      await delay(troubleMs);
      await trouble.end();
      await until(`every proxy to be renewed after: ${trouble.name}`, async () => proxies.every((proxy, index) => proxy.issued() > before[index]!));
      await until(`every proxy to be ready after: ${trouble.name}`, async () => (await Promise.all(proxies.map((proxy) => proxy.ready()))).every(Boolean));
      report(`${trouble.name}, for ${((performance.now() - sinceMs) / 1000).toFixed(1)} s: ${load.done() - done} requests and answers, ${load.failures.length} failures so far`);
    }

    // Caches, code and pools are warm after the first of them.
    await rotate(Math.ceil(rotations / 10));
    const [before, from] = [await measureAll(), proxies.map((proxy) => proxy.issued())];
    const first = issued();
    await rotate(rotations);
    const after = await measureAll();
    const rotated = proxies.map((proxy, index) => proxy.issued() - from[index]!);
    const [ofHello = 0, ...ofServers] = rotated;
    const measures = Object.fromEntries(proxies.map((proxy, index) => [proxy.name, {
      before: before[index]!, after: after[index]!, rotations: rotated[index]!, peerCertificates: proxy === hello ? ofServers.reduce((sum, count) => sum + count) : ofHello,
    }]));
    report(`${issued() - first} rotations: ${load.done()} requests and answers, ${load.failures.length} failures`);

    const idle = await holdIdle(tcpPort, idleConnections, [hello, database], ends);
    const done = load.done();
    await until("requests beside the idle connections", async () => load.done() > done + 100);
    await load.stop();
    return { rotations: issued() - first, done: load.done(), failures: load.failures, measures, idle: { ...idle, served: load.failures.length === 0 } };
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

async function holdIdle(port: number, connections: number, passed: readonly SoakProxy[], ends: (() => unknown)[]): Promise<Omit<EnduranceResult["idle"], "served">> {
  const before = await Promise.all(passed.map((proxy) => proxy.measure()));
  const sockets: Socket[] = [];
  ends.push(() => sockets.forEach((socket) => socket.destroy()));
  while (sockets.length < connections) {
    const batch = Array.from({ length: Math.min(openedAtOnce, connections - sockets.length) }, async () => {
      const socket = connect({ port, host: "127.0.0.1" }).on("error", () => undefined);
      sockets.push(socket);
      socket.write("?");
      const [answer] = await Promise.race([once(socket, "data"), once(socket, "close").then(() => [])]) as [Buffer?];
      if (answer === undefined) throw new Error(`idle connection ${sockets.length} was refused`);
    });
    await Promise.all(batch);
  }
  const after = await Promise.all(passed.map((proxy) => proxy.measure()));
  const perConnection = passed.map(({ name }, index) => [name, Math.round((after[index]!.rssBytes - before[index]!.rssBytes) / connections)]);
  return { connections, rssBytesPerConnection: Object.fromEntries(perConnection) as Record<string, number> };
}

async function listening(server: Server, ends: (() => unknown)[]): Promise<number> {
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

async function until(what: string, holds: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  for (const deadline = Date.now() + timeoutMs; !(await holds()); await delay(pollMs)) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs / 1000} s in vain for ${what}`);
  }
}

const pollMs = 20;
/** Handshakes beyond 256 of one address make room for each other. */
const openedAtOnce = 100;
