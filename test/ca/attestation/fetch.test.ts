import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { httpsFetcher } from "../../../ca/attestation/fetch.ts";
import { startPlatform, type Platform } from "../../support/platform.ts";

let platform: Platform;
let silent: Server;
const sockets: Socket[] = [];
beforeAll(async () => {
  platform = await startPlatform();
  silent = createServer((socket) => void sockets.push(socket.on("error", () => undefined))).listen(0, "127.0.0.1");
  await once(silent, "listening");
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  silent.close();
  await platform.close();
});
const silentUrl = (): string => `https://127.0.0.1:${(silent.address() as AddressInfo).port}/`;
const failed = (why: RegExp) => expect.objectContaining({ name: "FetchError", message: expect.stringMatching(why) as string }) as Error;

test("a host that does not answer takes its own share and no other's", async () => {
  const { fetch, close } = httpsFetcher({ timeoutMs: 20_000 });
  const waiting = Array.from({ length: 32 }, () => fetch({ url: silentUrl(), caFile: undefined }).catch((error: Error) => error));
  await expect(fetch({ url: silentUrl(), caFile: undefined })).rejects.toThrow(failed(/32 requests to .* under way/));
  expect((await fetch({ url: `${platform.url}/keys`, caFile: platform.caFile })).status).toBe(200);
  close();
  for (const socket of sockets) socket.destroy();
  silent.on("connection", (socket: Socket) => socket.destroy());
  expect((await Promise.all(waiting)).every((error) => error instanceof Error)).toBe(true);
  const again = httpsFetcher();
  await expect(again.fetch({ url: silentUrl(), caFile: undefined })).rejects.toThrow(failed(/no answer/));
});

test("a host that is somebody else, or that answers without end or too late, is none", async () => {
  const { fetch, close } = httpsFetcher({ timeoutMs: 20_000 });
  await expect(fetch({ url: `${platform.url}/keys`, caFile: undefined })).rejects.toThrow(failed(/no answer/));
  await expect(fetch({ url: "http://127.0.0.1:1/", caFile: undefined })).rejects.toThrow(failed(/not asked over http/));
  platform.answers.set("/long", () => ({ text: "x".repeat(300_000) }));
  await expect(fetch({ url: `${platform.url}/long`, caFile: platform.caFile })).rejects.toThrow(failed(/longer than/));
  close();
  const hasty = httpsFetcher({ timeoutMs: 1 });
  await expect(hasty.fetch({ url: `${platform.url}/keys`, caFile: platform.caFile })).rejects.toThrow(failed(/no answer/));
  hasty.close();
});

test("a redirection is an answer like any other", async () => {
  const { fetch, close } = httpsFetcher();
  platform.answers.set("/moved", () => ({ status: 302, text: "", headers: { location: `${platform.url}/elsewhere` } }));
  expect((await fetch({ url: `${platform.url}/moved`, caFile: platform.caFile })).status).toBe(302);
  expect(platform.requests).not.toContain("GET /elsewhere");
  close();
});
