import { Hono } from "hono";
import { expect, test } from "vitest";
import { json, toResponse } from "../../../ca/http/answer.ts";
import { readBytes, readJson } from "../../../ca/http/body.ts";
import { isPlain, plainRequest, properRequest } from "../../../ca/http/plain.ts";

const url = new URL("https://lambda.invalid/v1/certificates?a=b");
const body = Buffer.from('{"csr":"ä"}');
const headers = new Map([["content-type", "application/json"], ["content-length", String(body.length)], ["x-many", "one, two"]]);
const plain = () => plainRequest({ method: "POST", url, headers, body });

test("a plain request reads as the Request it stands for", async () => {
  const proper = properRequest(plain());
  expect([isPlain(plain()), isPlain(proper)]).toEqual([true, false]);
  for (const request of [plain(), proper]) {
    expect([request.method, request.url, request.headers.get("Content-Type"), request.headers.get("x-many"), request.headers.get("x-none"), request.headers.has("X-Many")])
      .toEqual(["POST", url.href, "application/json", "one, two", null, true]);
    expect(await readJson(request, 100)).toEqual({ csr: "ä" });
  }
  expect([Buffer.from(await plain().arrayBuffer()), Buffer.from(await readBytes(plain(), 100))]).toEqual([body, body]);
  await expect(readBytes(plain(), 5)).rejects.toMatchObject({ code: "body_too_large" });
});

test("what has no body has none as a Request, too", () => {
  const get = plainRequest({ method: "GET", url, headers: new Map(), body: undefined });
  expect([get.body, properRequest(get).body]).toEqual([null, null]);
});

test("what answers a plain request reads as the Response it stands for, also without its body", async () => {
  const app = new Hono();
  app.get("/v1/certificates", ({ req }) => toResponse(json({ all: "well" }, 202, { etag: '"x"', "set-cookie": "a=b" }), "request-1", req.raw));
  const ask = async (request: Request) => {
    const response = await app.fetch(request);
    return [response.status, Object.fromEntries(response.headers), response.headers.getSetCookie(), Buffer.from(await response.arrayBuffer()).toString()];
  };
  for (const method of ["GET", "HEAD"]) {
    const request = () => plainRequest({ method, url, headers: new Map(), body: undefined });
    expect(await ask(request())).toEqual(await ask(properRequest(request())));
  }
});
