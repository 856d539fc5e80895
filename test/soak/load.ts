import { Agent, request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";

/** Requests and streams through a pair of proxies, for as long as they are let. */
export interface Load {
  /** Answered as they should be. */
  done(): number;
  /** What was not, in words. */
  readonly failures: readonly string[];
  /** Resolves when nothing is under way; streams stay open. */
  pause(): Promise<void>;
  resume(): void;
  stop(): Promise<void>;
}

/**
 * Three kinds, since each breaks in another way: requests on kept connections, a new connection for each few bytes, and streams
 * that live as long as the load does.
 * @param httpProxy  forward proxy with a route for `world`, whose app sends back the path
 * @param tcpPort    leads to an echo
 */
export function startLoad(httpProxy: string, tcpPort: number): Load {
  const [host, port] = httpProxy.split(":") as [string, string];
  const agent = new Agent({ keepAlive: true });
  const failures: string[] = [];
  let [done, busy, running] = [0, 0, true];
  let gate = Promise.withResolvers<void>();
  gate.resolve();
  let idle = (): void => undefined;

  async function loop(kind: string, once_: (count: number) => Promise<void>): Promise<void> {
    for (let count = 0; running; count++) {
      await gate.promise;
      if (!running) return;
      busy += 1;
      try {
        await once_(count);
        done += 1;
      } catch (error) {
        failures.push(`${kind} ${count}: ${(error as Error).message}`);
        // A stream that is broken stays so.
        await delay(failurePauseMs);
      }
      busy -= 1;
      if (busy === 0) idle();
      await delay(pauseMs);
    }
  }

  function ask(count: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const path = `/${count}`;
      const sent = httpRequest({ host, port, path: `http://world${path}`, agent, timeout: patienceMs }, (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => (body += text)).on("error", reject).on("end", () => {
          if (response.statusCode === 200 && body === path) resolve();
          else reject(new Error(`${response.statusCode} ${body.slice(0, 200)}`));
        });
      });
      sent.on("error", reject).on("timeout", () => sent.destroy(new Error("no answer in time"))).end();
    });
  }

  async function greet(count: number): Promise<void> {
    const socket = await opened(tcpPort);
    await exchange(socket, `new ${count}.`);
    socket.end();
    await once(socket.resume(), "close");
  }

  const loops = [
    ...Array.from({ length: keptConnections }, () => loop("request", ask)),
    loop("connection", greet),
    ...Array.from({ length: streams }, async () => {
      const socket = await opened(tcpPort);
      await loop("stream", (count) => exchange(socket, `${count}.`));
      socket.destroy();
    }),
  ];

  return {
    done: () => done,
    failures,
    async pause() {
      gate = Promise.withResolvers();
      if (busy > 0) await new Promise<void>((resolve) => (idle = resolve));
    },
    resume: () => gate.resolve(),
    async stop() {
      running = false;
      gate.resolve();
      await Promise.all(loops);
      agent.destroy();
    },
  };
}

async function opened(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true }).on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

/** Sends, and reads the same back. */
function exchange(socket: Socket, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let seen = "";
    const finish = (error?: Error): void => {
      clearTimeout(deadline);
      socket.off("data", onData).off("close", onClose);
      if (error === undefined) resolve();
      else reject(error);
    };
    const onData = (bytes: Buffer): void => {
      seen += bytes.toString("latin1");
      if (seen.length >= text.length) finish(seen === text ? undefined : new Error(`"${seen}" came back for "${text}"`));
    };
    const onClose = (): void => finish(new Error("the connection was closed"));
    const deadline = setTimeout(() => finish(new Error("nothing came back in time")), patienceMs);
    if (socket.destroyed) return onClose();
    socket.on("data", onData).once("close", onClose).write(text);
  });
}

const keptConnections = 4;
const streams = 2;
/** Between two of a kind: the soak is about time, not about speed. */
const pauseMs = 5;
const failurePauseMs = 200;
const patienceMs = 20_000;
