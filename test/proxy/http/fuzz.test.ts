import fc from "fast-check";
import { createServer, METHODS, type IncomingMessage } from "node:http";
import { duplexPair } from "node:stream";
import { afterAll, expect, test } from "vitest";
import { clientIdHeader } from "../../../proxy/http/fields.ts";
import { writeLastChunk, writeRequestHead } from "../../../proxy/http/forwarded.ts";
import type { RequestHead } from "../../../proxy/http/head.ts";
import { parseRequestTarget } from "../../../proxy/http/target.ts";
import { cut, readRequest, readResponse, summary, written, type ReadMessage } from "../../support/http-messages.ts";
import { acceptedRequests, followedResponses, refusedBodies, refusedHeads, refusedResponses } from "../../vectors/http-smuggling.ts";

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");
const identity = "spiffe://east/hello";
const accepted = acceptedRequests.map(({ bytes }) => bytes.replace(/^\r\n/, ""));
const seeds = [...refusedHeads, ...refusedBodies, ...acceptedRequests].map(({ bytes }) => bytes).filter((bytes) => bytes.length < 1000);
const pieces = [
  "\r\n", "\n", "\r", "\0", " ", "\t", ":", ";", ",", "0", "1", "5", "a", "\x0b", "\xa0", "\r\n\r\n", "0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "Host: b\r\n", "Content-Length: 5\r\n",
  "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "Connection: x, host\r\n", "Upgrade: websocket\r\n", "Expect: 100-continue\r\n", "Trailer: X\r\n",
  "Countersign-Client-Id: spiffe://east/admin\r\n", "countersign_client.id: spiffe://east/admin\r\n", "HTTP/1.0", "HTTP/1.1", "http://b/", "chunked", "identity", "_", "-", "+",
];

/** Requests of the suite with a few places replaced. */
const mutated = fc.tuple(
  fc.oneof(fc.constantFrom(...seeds), fc.constantFrom(...accepted)),
  fc.array(fc.record({ at: fc.nat(400), drop: fc.nat(3), add: fc.oneof(fc.constantFrom(...pieces), fc.string({ unit: "binary-ascii", maxLength: 2 })) }), { maxLength: 4 }),
).map(([seed, edits]) => edits.reduce((text, { at, drop, add }) => {
  const place = at % (text.length + 1);
  return text.slice(0, place) + add + text.slice(place + drop);
}, seed));

/** Plain requests, each with the body it carries. */
const token = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}$/);
const wellFormed = fc.record({
  method: fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"), path: fc.stringMatching(/^\/[!-~]{0,20}$/),
  fields: fc.array(fc.tuple(token, fc.stringMatching(/^$|^[!-~]$|^[!-~][ -~]{0,20}[!-~]$/)), { maxLength: 6 }),
  body: fc.stringMatching(/^[\x00-\x7f]{0,40}$/), framing: fc.constantFrom("none", "length", "chunked"), chunk: fc.integer({ min: 1, max: 9 }),
});

interface Seen { readonly method: string; readonly url: string; readonly headers: readonly string[]; readonly body: string; readonly trailers: readonly string[] }
let seen: Seen[] = [];
const server = createServer({ insecureHTTPParser: false }, collect).on("checkContinue", collect).on("checkExpectation", collect).on("connect", collect).on("upgrade", collect);
afterAll(() => void server.close());

function collect(request: IncomingMessage): void {
  let body = "";
  request.setEncoding("latin1").on("data", (chunk: string) => (body += chunk)).on("end", () => {
    const { method = "", url = "", rawHeaders, rawTrailers } = request;
    seen.push({ method, url, headers: rawHeaders, body, trailers: rawTrailers });
  }).resume();
}

/** What node:http makes of these bytes. */
async function readByNode(bytes: string): Promise<readonly Seen[]> {
  seen = [];
  const [here, there] = duplexPair();
  server.emit("connection", there);
  here.on("error", () => undefined).resume();
  there.on("error", () => undefined);
  here.write(latin1(bytes));
  // Parsing is synchronous; the events of a body come in the turns after it.
  for (let turn = 0; turn < 4; turn++) await new Promise(setImmediate);
  const result = seen;
  here.destroy();
  there.destroy();
  return result;
}

/** The message as it goes to the app. */
function forwarded({ head, body, trailers }: ReadMessage<RequestHead>): string {
  const { path = head.target, authority: host } = parseRequestTarget(head.target) ?? {};
  return written((out) => {
    writeRequestHead(out, head, { path, host, addedLines: Buffer.from(`${clientIdHeader}: ${identity}\r\n`) });
    if (head.framing !== "chunked") return out.text(body);
    if (body !== "") out.text(`${body.length.toString(16)}\r\n${body}\r\n`);
    writeLastChunk(out, trailers);
  });
}

test("what goes out is for node:http the one message we understood, with our identity header and no other", async () => {
  let read = 0;
  await fc.assert(fc.asyncProperty(mutated, async (bytes) => {
    const understood = readRequest([latin1(bytes)]);
    if (typeof understood === "string" || understood.head.method === "CONNECT" || understood.head.upgrade || understood.head.minor === 0) return;
    const { head, body } = understood;
    const target = parseRequestTarget(head.target);
    // Node knows a list of methods, and takes an app's for malformed.
    if (target === undefined || !METHODS.includes(head.method)) return;
    const messages = await readByNode(forwarded(understood));
    expect(messages).toMatchObject([{ method: head.method, url: target.path, body }]);
    const { headers, trailers } = messages[0]!;
    expect(identities(headers)).toEqual([identity]);
    expect(identities(trailers)).toEqual([]);
    const names = headers.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
    for (const gone of ["connection", "upgrade", "te"]) expect(names).not.toContain(gone);
    read++;
  }), { numRuns: 1500, examples: accepted.map((bytes) => [bytes]) });
  expect(read).toBeGreaterThan(100);
});

test("what we accept, node:http reads in the same way", async () => {
  await fc.assert(fc.asyncProperty(mutated, async (bytes) => {
    const understood = readRequest([latin1(bytes)]);
    if (typeof understood === "string" || understood.head.method === "CONNECT" || understood.head.upgrade) return;
    const { head, body } = understood;
    const [first] = await readByNode(bytes);
    if (first !== undefined) expect(first).toMatchObject({ method: head.method, url: head.target, body });
  }), { numRuns: 1000 });
});

test("a plain request is understood as it was meant", () => {
  fc.assert(fc.property(wellFormed, ({ method, path, fields, body, framing, chunk }) => {
    const plain = fields.filter(([name]) => !/^(?:host|connection|te|upgrade|trailer|expect|keep-alive|content.length)$/i.test(name));
    const lines = plain.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    const framed = framing === "length" ? `Content-Length: ${body.length}\r\n\r\n${body}`
      : framing === "chunked" ? `Transfer-Encoding: chunked\r\n\r\n${chunksOf(body, chunk)}0\r\n\r\n` : "\r\n";
    const understood = readRequest([latin1(`${method} ${path} HTTP/1.1\r\nHost: a\r\n${lines}${framed}`)]);
    expect(understood).toMatchObject({ head: { method, target: path, host: "a" }, body: framing === "none" ? "" : body, rest: "" });
    expect(forwarded(understood as ReadMessage<RequestHead>)).toContain(lines);
  }), { numRuns: 500 });
});

test("where a request or a response is cut makes no difference", () => {
  const cuts = fc.array(fc.nat(1000), { maxLength: 5 });
  fc.assert(fc.property(mutated, cuts, (bytes, at) => {
    const whole = latin1(bytes);
    expect(summary(readRequest(cut(whole, ...places(at, whole))))).toEqual(summary(readRequest([whole])));
  }), { numRuns: 3000 });
  const responses = fc.constantFrom(...[...refusedResponses, ...followedResponses].map(({ bytes }) => bytes));
  fc.assert(fc.property(responses, cuts, fc.boolean(), (bytes, at, toHead) => {
    const whole = latin1(bytes);
    expect(summary(readResponse(cut(whole, ...places(at, whole)), toHead))).toEqual(summary(readResponse([whole], toHead)));
  }), { numRuns: 500 });
});

/** Values under every name an app could take for the identity header. */
const identities = (raw: readonly string[]): readonly string[] => (
  raw.filter((_, index) => index % 2 === 1 && raw[index - 1]!.toLowerCase().replaceAll(/[^a-z0-9]/g, "-") === clientIdHeader)
);

const places = (at: readonly number[], whole: Buffer): number[] => at.map((place) => place % (whole.length + 1)).sort((a, b) => a - b);

function chunksOf(body: string, size: number): string {
  let text = "";
  for (let at = 0; at < body.length; at += size) text += `${Math.min(size, body.length - at).toString(16)}\r\n${body.slice(at, at + size)}\r\n`;
  return text;
}
