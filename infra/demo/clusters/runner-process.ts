// Runs errands in a cluster, as its parent orders.
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { statusOf } from "../place.ts";
import { askInbound } from "../strangers.ts";
import type { Asked, ErrandName, Errands, Order, Report } from "./errands.ts";

const failures: string[] = [];
let asked = 0;
let asking: Promise<unknown> | undefined;
let stopped = false;
let cut: Promise<number> | undefined;

const errands: { readonly [Name in ErrandName]: (takes: Errands[Name]["takes"]) => Promise<Errands[Name]["gives"]> } = {
  get: ({ url, headers = {} }) => get(url, headers),
  status: ({ url }) => statusOf(url),
  present: ({ host, port, credentials }) => askInbound(port, credentials, host),
  async startAsking({ proxy, names }) {
    [asked, stopped] = [0, false];
    failures.length = 0;
    asking = Promise.all(names.flatMap((name) => [askOn(() => throughProxy(proxy, name)), askOn(() => throughTunnel(proxy, name))]));
    return true;
  },
  async stopAsking() {
    stopped = true;
    await asking;
    return { asked, failures } satisfies Asked;
  },
  async openTunnel({ proxy, name }) {
    const socket = await tunnel(proxy, name);
    await askIn(socket, name);
    cut = new Promise((resolve) => socket.once("close", () => resolve(Date.now())));
    return true;
  },
  async awaitCut() {
    if (cut === undefined) throw new Error("no connection was opened");
    const late = delay(answerTimeoutMs).then(() => Promise.reject(new Error(`still open after ${answerTimeoutMs / 1000} s`)));
    return Promise.race([cut, late]);
  },
};

/** One request after the other, each answered before the next. */
async function askOn(ask: () => Promise<string>): Promise<void> {
  while (!stopped) {
    const answer = await ask().catch((error: Error) => error.message);
    asked += 1;
    if (answer !== "world\n" && failures.length < maxFailures) failures.push(answer.trim());
    await delay(pauseMs);
  }
}

/** As an app with http_proxy set: on connections that the proxy keeps. */
async function throughProxy(proxy: string, name: string): Promise<string> {
  const { status, body } = await get(`http://${proxy}/`, { host: name });
  return status === 200 ? body : `${status} ${body}`;
}

/** Each on a connection of its own, so with a handshake. */
async function throughTunnel(proxy: string, name: string): Promise<string> {
  const socket = await tunnel(proxy, name);
  try {
    return await askIn(socket, name);
  } finally {
    socket.destroy();
  }
}

async function tunnel(proxy: string, name: string): Promise<Socket> {
  const [host = "", port] = proxy.split(":");
  const socket = connect({ host, port: Number(port) });
  socket.on("error", () => undefined);
  socket.write(`CONNECT ${name}:80 HTTP/1.1\r\nHost: ${name}:80\r\n\r\n`);
  const answer = await readUntil(socket, "\r\n\r\n");
  if (!answer.startsWith("HTTP/1.1 200 ")) throw new Error(answer.slice(0, answer.indexOf("\r\n")));
  return socket;
}

async function askIn(socket: Socket, name: string): Promise<string> {
  socket.write(`GET / HTTP/1.1\r\nHost: ${name}\r\n\r\n`);
  const answer = await readUntil(socket, "world\n");
  return answer.includes("world\n") ? "world\n" : answer;
}

async function readUntil(socket: Socket, end: string): Promise<string> {
  let text = "";
  const onData = (chunk: Buffer): void => {
    text += chunk.toString("latin1");
    if (text.includes(end)) socket.emit("read");
  };
  socket.on("data", onData);
  const timer = setTimeout(() => socket.destroy(), answerTimeoutMs);
  await Promise.race([once(socket, "read"), once(socket, "close")]);
  clearTimeout(timer);
  socket.off("data", onData);
  return text === "" ? "cut without an answer" : text;
}

async function get(url: string, headers: Readonly<Record<string, string>>): Promise<{ status: number; body: string }> {
  const sent = request(url, { headers, agent: false, timeout: answerTimeoutMs });
  sent.on("timeout", () => sent.destroy(new Error(`no answer from ${url}`))).end();
  const [response] = await once(sent, "response") as [IncomingMessage];
  let body = "";
  for await (const chunk of response.setEncoding("utf8") as AsyncIterable<string>) body += chunk;
  return { status: response.statusCode ?? 0, body };
}

process.on("message", ({ id, errand, takes }: Order) => {
  const tell = (report: Report): void => void process.send?.(report);
  (errands[errand] as (takes: unknown) => Promise<unknown>)(takes).then((gives) => tell({ id, gives }), (error: Error) => tell({ id, error: error.message }));
});
process.once("disconnect", () => process.exit(0));

const answerTimeoutMs = 15_000;
/** Leaves the machine room for everybody else. */
const pauseMs = 30;
const maxFailures = 5;
