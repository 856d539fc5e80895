import { once } from "node:events";
import { createServer } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { detectProtocol, mayDecide } from "../../../proxy/inbound/detect.ts";

const detect = (text: string) => detectProtocol(Buffer.from(text, "latin1"));

describe("what some server might take for HTTP/1 counts as HTTP, so that no identity header passes unseen", () => {
  const requests = [
    "GET / HTTP/1.1\r\n", "GET / HTTP/1.0\r\n", "get / http/1.1\r\n", "GET / HTTP/1.1\n", "\r\n\r\nGET / HTTP/1.1\r\n", "\nGET / HTTP/1.1\n",
    "GET  /  HTTP/1.1\r\n", "GET\t/ HTTP/1.1\r\n", "GET\r/\x0bHTTP/1.1\n", "GET /\x01\0 HTTP/1.1\r\n", "PROPFIND /x HTTP/1.1\r\n", "X-OWN /x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a b c HTTP/1.1\r\n", "GET / HTTP/1.7 \r\n",
    "GET / HTTP/0.9\r\n", "GET / HTTP/2.0\r\n", "GET / HTTP/1.10\r\n", "GET / HTTP/1.01\r\n", "GET / HTTP/+1.1\r\n", "GET / HTTP/11\r\n", "GET / HTTP/1.1 x\r\n", "GET / HTTP/1.1\0\r\n",
    " GET / HTTP/1.1\r\n", "\t\x0b\x0c\x1c\x1f\x85\xa0GET / HTTP/1.1\r\n", "GET\xa0/\xa0HTTP/1.1\r\n", "GET\x1c/\x1cHTTP/1.1\r\n", "G{T / HTTP/1.1\r\n", "\xff\xfe HTTP/1.1\r\n", "1 / HTTP/1.1\r\n",
    `${"A".repeat(65)} /admin HTTP/1.1\r\n`, `${"A".repeat(10_000)} /admin HTTP/1.1\r\n`, "x\rGET / HTTP/1.1\r\n",
    // Node's parser takes these for HTTP, too.
    "POST / RTSP/1.0\r\n", "SOURCE / ICE/1.0\r\n",
    // HTTP/0.9, which Python reads headers behind, and versions that old Apaches took for 1.0.
    "GET /\r\n", "GET x\r\n", "\xa0GET\xa0x\r\n", "GET / FOO\r\n", "POST / x\r\n", "POST http://a/ x\r\n",
    // Python's standard library takes any method, others also without a version.
    "G\x01ET / HTTP/1.0\r\n", "\0 x y http/1.1 \n", "\r\nGET\x7f\t/ ICE/1.0 \x01", "0 /\x01 HTTP/1.1\r\n", "\x01 /x\r\n", "\x01  http://a/x \n",
    `GET /${"x".repeat(20_000)}`, "x".repeat(20_000), " ".repeat(20_000),
  ];
  for (const request of requests) {
    test(JSON.stringify(request.slice(0, 40)), () => expect(detect(request)).toBe("http"));
  }
});

describe("other first bytes are opaque", () => {
  const opaque = [
    // TLS, Postgres, MongoDB (lengths of 58 and 32), MQTT, AMQP, memcached and LDAP (whose first bytes are a digit and a form feed).
    "\x16\x03\x01\x02\x00", "\0\0\0\x08\x04\xd2\x16\x2f", ":\0\0\0\x01", " \0\0\0\x01", "\x10\x0c\0\x04MQTT", "AMQP\0\0\x09\x01", "\x80\0\0\x03", "0\x0c\x02\x01\x01\x60\x07\x02",
    // A line that somebody logs, and TLS that offers it.
    "\x93\0\xa3log\xd9\x30 10.0.0.7 - - \"GET / HTTP/1.1\" 200 12\n", "\0\0 a b c HTTP/1.1 200\n", "\0\x0b/zookeeper\0\0\n", "\x16\x03\x01\x02\0\x01 \x0c h2 \x08http/1.1\n",
    // Text, where the client speaks first: memcached, Redis, SMTP, SSH, NATS, STOMP, IRC, IMAP, FTP, JSON lines.
    "get key\r\n", "set a 0 0 1\r\n", "*1\r\n$4\r\nPING\r\n", "PING\r\n", "SET a b\r\n", "EHLO host\r\n", "SSH-2.0-OpenSSH_9.9\r\n", "CONNECT {\"verbose\":false}\r\n", "CONNECT\naccept-version:1.2\n", "NICK me\r\n",
    "a1 LOGIN me secret\r\n", "USER me\r\n", '{"json": 1}\n', "SELECT 1;\n", "\r\nEHLO host\r\n",
  ];
  for (const bytes of opaque) {
    test(JSON.stringify(bytes.slice(0, 40)), () => expect(detect(bytes)).toBe("tcp"));
  }
});

describe("an incomplete line decides nothing", () => {
  for (const bytes of ["", "\r\n", "G", "GET", "GET ", "GET / HTTP/1.", "PRI * HTTP/2.0", "PROXY TCP4", "{", "\xff", "x".repeat(65), "GET /\x01"]) {
    test(JSON.stringify(bytes), () => expect(detect(bytes)).toBe("undecided"));
  }
});

describe("a client that ended in the middle of a line has said all it will", () => {
  test("which may be HTTP to a server that ends lines with CR alone", () => expect(detectProtocol(Buffer.from("GET / HTTP/1.1\rA: b\r\r"), true)).toBe("http"));
  test("nothing", () => expect(detectProtocol(Buffer.from("\r\n"), true)).toBe("tcp"));
  test("or not", () => expect(detectProtocol(Buffer.from("no line end"), true)).toBe("tcp"));
});

describe("what would lead HTTP past us is neither", () => {
  test("a PROXY preamble, text", () => expect(detect("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET / HTTP/1.1\r\n")).toBe("proxy_preamble"));
  test("a PROXY preamble, text, unknown", () => expect(detect("PROXY UNKNOWN\r\n")).toBe("proxy_preamble"));
  test("a PROXY preamble, binary", () => expect(detect("\r\n\r\n\0\r\nQUIT\n\x21\x11")).toBe("proxy_preamble"));
  test("HTTP/2 with prior knowledge", () => expect(detect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).toBe("http2"));
});

test("whatever Node's own server answers with anything but 400 is detected as HTTP", async () => {
  const server = createServer((_request, response) => response.end()).listen(0, "127.0.0.1");
  server.keepAliveTimeout = 1;
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const lines = nearlyHttp();
  expect(lines.length).toBeGreaterThan(500);
  let answered = 0;
  for (let from = 0; from < lines.length; from += 50) {
    await Promise.all(lines.slice(from, from + 50).map(async (line) => {
      if (!await isServed(port, line)) return;
      answered += 1;
      expect([line, detect(line)]).toEqual([line, "http"]);
    }));
  }
  expect(answered).toBeGreaterThan(40);
  server.close();
});

test("bytes that cannot decide never would have", () => {
  const wrong: string[] = [];
  for (const line of nearlyHttp()) {
    const bytes = Buffer.from(line, "latin1");
    let before = detectProtocol(bytes.subarray(0, 0));
    for (let length = 1; length <= bytes.length; length++) {
      const now = detectProtocol(bytes.subarray(0, length));
      if (now !== before && before === "undecided" && !mayDecide(bytes.subarray(length - 1, length), length)) wrong.push(line);
      before = now;
    }
  }
  expect(wrong).toEqual([]);
  expect(mayDecide(Buffer.from("a"), 16 * 1024)).toBe(true);
  expect(mayDecide(Buffer.from("a"), 1)).toBe(false);
});

/** Request lines with one or two parts that are not as they should be. */
function nearlyHttp(): string[] {
  const before = ["", " ", "\t", "\r\n", "\n", "\r", "\0", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\xff", "\xef\xbb\xbf", "x\r\n", "\x16"];
  const methods = ["GET", "get", "POST", "SOURCE", "ANNOUNCE", "DESCRIBE", "QUERY", "M-SEARCH", "PRI", "PROXY", "G", "A".repeat(65), "GET\0", "{"];
  const blanks = [" ", "  ", "\t", "\x0b", "\x0c", "\x1c", "\xa0", ""];
  const targets = ["/", "*", "a", "a:1", "http://a/", "/\x01", "/\0", "/\x80", "/ b", "?", ""];
  const versions = [
    "HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.10", "HTTP/1.01", "HTTP/01.1", "HTTP/1", "HTTP/11", "HTTP/3.0", "http/1.1", "HTTP/+1.1", "RTSP/1.0", "ICE/1.0", "SIP/2.0", "HTTPS/1.1", "FOO", "",
  ];
  const ends = ["\r\n", "\n", "\r", " \r\n", "\0\r\n", "\t\r\n", " x\r\n", "\r\r\n"];
  const lines = new Set<string>();
  for (const method of methods) for (const target of targets) for (const version of versions) {
    if (target === "/" || version === "HTTP/1.1" || method === "GET") lines.add(`${method} ${target} ${version}\r\n`);
  }
  for (const blank of blanks) for (const start of before) lines.add(`${start}GET${blank}/${blank}HTTP/1.1\r\n`);
  for (const end of ends) for (const version of versions) lines.add(`GET / ${version}${end}`);
  return [...lines];
}

/** True when the server answers with anything but 400. */
async function isServed(port: number, line: string): Promise<boolean> {
  const socket = connect(port, "127.0.0.1").on("error", () => undefined);
  socket.end(`${line}Host: a\r\nConnection: close\r\n\r\n`, "latin1");
  let bytes = "";
  socket.on("data", (chunk) => { bytes += chunk.toString("latin1"); });
  await once(socket, "close");
  return bytes !== "" && !/^HTTP\/1\.1 400 /.test(bytes);
}
