import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { PolicyRule } from "../../../ca/contract/policies.ts";
import type { InboundDataPath } from "../../../proxy/inbound/server.ts";
import { eastIdentity, eastIssuer, holderOf, inboundHalf, metricValue, policyFor, type HalfOptions, type TestHalf } from "../../support/data-path.ts";
import { httpApp, readAll, readUntil, tcpApp, tlsClient, type TestServer } from "../../support/tcp.ts";

const hello = eastIssuer.leaf({ spiffeId: "spiffe://east/hello" });
const apps: TestServer[] = [];
const halves: TestHalf<InboundDataPath>[] = [];

afterEach(async () => {
  for (const { path } of halves.splice(0)) path.close();
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

type Client = Awaited<ReturnType<typeof tlsClient>>;

async function start(app: TestServer, options: HalfOptions = {}): Promise<{ half: TestHalf<InboundDataPath>; client: Client; connect: () => Promise<Client> }> {
  apps.push(app);
  const half = await inboundHalf({ app: { host: "127.0.0.1", port: app.port }, inboundProtocol: "http", ...options });
  halves.push(half);
  const connect = () => tlsClient(half.port, { leaf: hello });
  return { half, client: await connect(), connect };
}

/** An app that answers with what it was asked, as JSON. */
const mirror = (): Promise<TestServer> => httpApp((request, response) => {
  let body = "";
  request.setEncoding("latin1").on("data", (chunk: string) => (body += chunk)).on("end", () => {
    const { method, url, rawHeaders, rawTrailers } = request;
    response.end(JSON.stringify({ method, url, rawHeaders, rawTrailers, body }));
  });
});

/** Sends and reads the whole answer of a connection that closes after it. */
async function exchange(client: Client, text: string): Promise<string> {
  client.write(text);
  return (await readAll(client)).bytes.toString("latin1");
}

const bodyOf = (answer: string): string => answer.slice(answer.indexOf("\r\n\r\n") + 4);
/** The JSON of `mirror` in an answer with Content-Length. */
const mirrored = (answer: string) => JSON.parse(bodyOf(answer)) as { method: string; url: string; rawHeaders: string[]; rawTrailers: string[]; body: string };
const get = (...headers: string[]): string => ["GET /path?q HTTP/1.1", "Host: world", ...headers, "Connection: close", "", ""].join("\r\n");

describe("the app learns who called, from us alone", () => {
  const forged: readonly [string, readonly string[]][] = [
    ["none sent", []],
    ["the plain spelling", ["countersign-client-id: spiffe://east/admin"]],
    ["several, in odd case", ["Countersign-Client-ID: spiffe://east/admin", "COUNTERSIGN-CLIENT-ID: spiffe://east/root"]],
    ["underscores", ["countersign_client_id: spiffe://east/admin", "Countersign_Client-Id: spiffe://east/admin"]],
    ["dots", ["countersign.client.id: spiffe://east/admin"]],
    ["named in Connection, so that a hop might drop it", ["Connection: countersign-client-id"]],
  ];
  for (const [claim, headers] of forged) {
    test(claim, async () => {
      const { client } = await start(await mirror());
      const { rawHeaders } = mirrored(await exchange(client, get(...headers)));
      const identities = rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]!.toLowerCase().replaceAll(/[^a-z]/g, "-") === "countersign-client-id");
      expect(identities).toEqual(["spiffe://east/hello"]);
      expect(JSON.stringify(rawHeaders)).not.toMatch(/admin|root/);
    });
  }

  test("every request of a connection, not only the first", async () => {
    const { client } = await start(await mirror());
    const forging = get("countersign-client-id: spiffe://east/admin");
    client.write(forging.replace("Connection: close\r\n", ""));
    expect(await readUntil(client, "}")).not.toContain("admin");
    expect(mirrored(await exchange(client, forging)).rawHeaders).toContain("spiffe://east/hello");
  });
});

describe("each request is asked about before anything of it reaches the app", () => {
  const world = eastIdentity("world");
  const rules = (...list: readonly PolicyRule[]): HalfOptions => {
    const holder = holderOf(world);
    holder.setPolicy(policyFor(world, [{ name: "shop", workloads: ["spiffe://east/*"], rules: list }]));
    return { holder };
  };
  const allowAll: PolicyRule = { action: "allow", from: ["spiffe://east/*"] };

  test("a denied one is a 403 that names the rule, and the connection goes on", async () => {
    const { half, client } = await start(await mirror(), rules(allowAll, { name: "no-secrets", action: "deny", from: ["*"], paths: ["/secret/*"] }));
    client.write("GET http://World/secret/1?x HTTP/1.1\r\nHost: other\r\n\r\n");
    const answer = await readUntil(client, "if it should\n");
    expect(answer).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n[^]*rule shop\/no-secrets does not let spiffe:\/\/east\/hello do this/);
    expect(mirrored(await exchange(client, get())).url).toBe("/path?q");
    expect(metricValue(half.metrics, "response_total", 'status_class="4xx"')).toBe(1);
    expect(metricValue(half.metrics, "inbound_policy_denied_total", 'rule="shop/no-secrets"', 'client_id="spiffe://east/hello"', 'protocol="http"')).toBe(1);
  });

  test("what no rule allows is denied, too, and it says so", async () => {
    const { client } = await start(await mirror(), rules({ action: "allow", from: ["spiffe://east/*"], methods: ["POST"] }));
    expect(await exchange(client, get())).toMatch(/^HTTP\/1\.1 403 [^]*none of their rules allows this/);
  });

  test("a denied one with a body closes the connection, and none of it reaches the app", async () => {
    let connections = 0;
    const app = await mirror();
    app.server.on("connection", () => connections++);
    const { client } = await start(app, rules(allowAll, { name: "none", action: "deny", from: ["*"], methods: ["POST"] }));
    const answer = await exchange(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    expect(answer).toMatch(/^HTTP\/1\.1 403 [^]*rule shop\/none does not let spiffe:\/\/east\/hello do this/);
    expect(connections).toBe(0);
  });
});

describe("requests and responses are carried whole", () => {
  test("method, target and headers as sent, in order", async () => {
    const { client } = await start(await mirror());
    const seen = mirrored(await exchange(client, get("X-One: 1", "x-two: 2", "X-One: again", "Cookie: a=b")));
    expect(seen).toMatchObject({ method: "GET", url: "/path?q", body: "" });
    expect(seen.rawHeaders.slice(0, 10)).toEqual(["Host", "world", "X-One", "1", "x-two", "2", "X-One", "again", "Cookie", "a=b"]);
  });

  test("an absolute target names the host, whatever the Host header says", async () => {
    const { client } = await start(await mirror());
    const seen = mirrored(await exchange(client, "GET http://World:80/x HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"));
    expect(seen.url).toBe("/x");
    expect(seen.rawHeaders.filter((_, index) => seen.rawHeaders[index - 1]?.toLowerCase() === "host")).toEqual(["world:80"]);
  });

  test("a body with a length", async () => {
    const { client } = await start(await mirror());
    expect(mirrored(await exchange(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")).body).toBe("hello");
  });

  test("a chunked body with trailers, a forged identity among them removed", async () => {
    const { client } = await start(await mirror());
    const seen = mirrored(await exchange(client,
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n" +
      "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 42\r\nCountersign-Client-Id: spiffe://east/admin\r\n\r\n"));
    expect(seen).toMatchObject({ body: "hello world", rawTrailers: ["X-Sum", "42"] });
    expect(seen.rawHeaders).toContain("Trailer");
  });

  test("a GET with a body, and a POST without one", async () => {
    const { client, connect } = await start(await mirror());
    expect(mirrored(await exchange(client, "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n")).body).toBe("x");
    const seen = mirrored(await exchange(await connect(), "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    expect(seen.body).toBe("");
    expect(seen.rawHeaders).toContain("content-length");
  });

  test("a response with trailers", async () => {
    const { client } = await start(await httpApp((_request, response) => {
      response.writeHead(200, { Trailer: "X-Sum" });
      response.write("part one, ");
      response.addTrailers({ "X-Sum": "7" });
      response.end("part two");
    }));
    const answer = await exchange(client, get());
    expect(answer).toContain("part one, ");
    expect(answer).toMatch(/\r\n0\r\nX-Sum: 7\r\n\r\n$/);
  });

  test("status, reason, repeated headers, and no Date of ours", async () => {
    const { client } = await start(await rawApp("HTTP/1.1 299 Rather Fine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok"));
    const answer = await exchange(client, get());
    expect(answer).toMatch(/^HTTP\/1\.1 299 Rather Fine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n/);
    expect(answer).not.toContain("Date:");
  });

  for (const byte of [0x01, 0x08, 0x1b, 0x7f]) {
    test(`a response whose reason phrase has byte ${byte} is refused`, async () => {
      const { client } = await start(await rawApp(`HTTP/1.1 200 O${String.fromCharCode(byte)}K\r\nContent-Length: 2\r\n\r\nok`));
      expect(await exchange(client, get())).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/);
    });
  }

  for (const status of ["000", "099", "101"]) {
    test(`a status of ${status} is no answer`, async () => {
      const { half, client } = await start(await rawApp(`HTTP/1.1 ${status} X\r\nContent-Length: 0\r\n\r\n`));
      expect(await exchange(client, get())).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/);
      expect(metricValue(half.metrics, "response_total", 'status_class="5xx"')).toBe(1);
    });

    test(`a status of ${status} is no answer to an upgrade`, async () => {
      const { client } = await start(await rawApp(`HTTP/1.1 ${status} X\r\nContent-Length: 0\r\n\r\n`));
      expect(await exchange(client, get("Upgrade: websocket").replace("Connection: close", "Connection: upgrade"))).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/);
    });
  }

  test("the head of a switch of protocols is passed on byte by byte", async () => {
    const { client } = await start(await rawApp("HTTP/1.1 101 S\xe9\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-A: \xe9\r\n\r\n", (socket) => socket.end()));
    const answer = await exchange(client, get("Upgrade: websocket").replace("Connection: close", "Connection: upgrade"));
    expect(answer).toMatch(/^HTTP\/1\.1 101 S\xe9\r\nX-A: \xe9\r\n/);
  });

  test("HEAD, 204 and 304 have no body", async () => {
    const { client, connect } = await start(await httpApp((request, response) => {
      if (request.method === "HEAD") response.writeHead(200, { "Content-Length": "1000" });
      else response.writeHead(request.url === "/204" ? 204 : 304);
      response.end();
    }));
    expect(bodyOf(await exchange(client, get().replace("GET", "HEAD")))).toBe("");
    for (const path of ["/204", "/304"]) expect(bodyOf(await exchange(await connect(), get().replace("/path?q", path)))).toBe("");
  });

  test("a response without length ends with the app's connection", async () => {
    const { client } = await start(await rawApp("HTTP/1.0 200 OK\r\n\r\nall of it", (socket) => socket.end()));
    expect(await exchange(client, get())).toContain("\r\n9\r\nall of it\r\n0\r\n\r\n");
  });

  test("the head of a slow response does not wait for its body", async () => {
    const finish = Promise.withResolvers<ServerResponse>();
    const { client } = await start(await httpApp((_request, response) => {
      response.writeHead(200, { "Content-Type": "text/event-stream" }).flushHeaders();
      finish.resolve(response);
    }));
    client.write(get());
    await readUntil(client, "text/event-stream\r\n");
    (await finish.promise).end("data: x\n\n");
    expect(String((await readAll(client)).bytes)).toContain("data: x");
  });

  test("100-continue passes from the app to the client before the body is sent", async () => {
    const app = await mirror();
    const { client } = await start(app);
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
    await readUntil(client, "HTTP/1.1 100 Continue\r\n\r\n");
    expect(mirrored(await exchange(client, "body")).body).toBe("body");
  });

  test("an app that refuses the expectation gets no body", async () => {
    const app = await httpApp(() => undefined);
    (app.server as import("node:http").Server).on("checkContinue", (_request: IncomingMessage, response: ServerResponse) => response.writeHead(417, { "Content-Length": "0" }).end());
    const { client } = await start(app);
    expect(await exchange(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")).toMatch(/^HTTP\/1\.1 417 /);
  });

  test("early hints pass", async () => {
    const { client } = await start(await rawApp("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    expect(await exchange(client, get())).toMatch(/^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a.css>\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
  });

  test("a response that comes before the request's body is whole reaches the client, who may go on", async () => {
    const { client } = await start(await httpApp((request, response) => {
      response.writeHead(413, { "Content-Length": "3" }).end("big");
      request.resume();
    }));
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\nbegin");
    expect(await readUntil(client, "big")).toContain("413");
    client.write(Buffer.alloc(2_000_000 - 5));
    expect(await exchange(client, get())).toContain("413");
  });
});

describe("keep-alive", () => {
  test("1000 requests one after another use one connection here and few at the app", async () => {
    const app = await mirror();
    let connections = 0;
    app.server.on("connection", () => connections++);
    const { half, client } = await start(app);
    for (let count = 0; count < 1000; count++) {
      client.write(`GET /${count} HTTP/1.1\r\nHost: a\r\n\r\n`);
      expect(await readUntil(client, "}")).toContain(`"/${count}"`);
    }
    expect(connections).toBe(1);
    expect(metricValue(half.metrics, "request_total", 'client_id="spiffe://east/hello"')).toBe(1000);
    expect(metricValue(half.metrics, "response_total", 'status_class="2xx"')).toBe(1000);
    expect(metricValue(half.metrics, "response_latency_ms_count", 'tls="true",client_id="spiffe://east/hello"')).toBe(1000);
  });

  test("pipelined requests are worked on one at a time and answered in order", async () => {
    let underWay = 0;
    let most = 0;
    const { client } = await start(await httpApp((request, response) => {
      most = Math.max(most, ++underWay);
      // The later one would be ready first.
      setTimeout(() => {
        underWay--;
        response.end(`answer to ${request.url}.`);
      }, request.url === "/1" ? 30 : 0);
    }));
    client.write("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nyGET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    const answer = String((await readAll(client)).bytes);
    expect(answer.match(/answer to \/\d/g)).toEqual(["answer to /1", "answer to /2", "answer to /3"]);
    expect(most).toBe(1);
  });

  test("a request on an app connection that was just closed is sent again on a new one", async () => {
    let connections = 0;
    // Answers one request of each connection and resets it when the next one comes.
    const app = await tcpApp((socket) => {
      connections++;
      socket.on("error", () => undefined).once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        socket.once("data", () => socket.resetAndDestroy());
      });
    });
    const { client } = await start(app);
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await readUntil(client, "ok");
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(await readUntil(client, "ok")).toContain("200 OK");
    expect(connections).toBe(2);
    // What may not be done twice is not.
    for (const unsafe of ["POST / HTTP/1.1\r\nHost: a\r\n\r\n", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"]) {
      const before = connections;
      client.write(unsafe);
      expect(await readUntil(client, "answer")).toContain("502");
      expect(connections).toBe(before);
      client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      await readUntil(client, "ok");
    }
  });
});

describe("failures", () => {
  test("an app that is down is a 502 that says what to do", async () => {
    const app = await mirror();
    const { half, client } = await start(app);
    await app.close();
    apps.pop();
    const answer = await exchange(client, get());
    expect(answer).toMatch(/^HTTP\/1\.1 502 /);
    expect(answer).toContain("nothing listens there; start the app, or correct --app");
    expect(metricValue(half.metrics, "response_total", 'status_class="5xx"')).toBe(1);
  });

  test("an app that closes in the middle of a response breaks the client's connection", async () => {
    const { client } = await start(await rawApp("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", (socket) => socket.end()));
    client.write(get());
    const { bytes, ending } = await readAll(client);
    expect(String(bytes)).toContain("only this");
    expect(ending).toBe("reset");
  });

  test("an app that resets in the middle of a response without length breaks the client's connection", async () => {
    const { client } = await start(await rawApp("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n", (socket) => setTimeout(() => socket.resetAndDestroy(), 20)));
    client.write(get());
    const { bytes, ending } = await readAll(client);
    expect(String(bytes)).not.toContain("\r\n0\r\n");
    expect(ending).toBe("reset");
  });

  test("a client that leaves cancels its request at the app", async () => {
    const arrived = Promise.withResolvers<IncomingMessage>();
    const { client } = await start(await httpApp((request) => arrived.resolve(request)));
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123");
    const { socket } = await arrived.promise;
    const closed = new Promise((resolve) => socket.once("close", resolve));
    client.raw.resetAndDestroy();
    await closed;
  });

  test("a slow upload and a slow download pass with bounded buffers", async () => {
    const size = 16 * 1024 * 1024;
    const app = await httpApp((request, response) => {
      let received = 0;
      request.on("data", (chunk: Buffer) => {
        received += chunk.length;
        request.pause();
        setImmediate(() => request.resume());
      }).on("end", () => {
        response.writeHead(200, { "Content-Length": String(size), "X-Received": String(received) });
        response.end(Buffer.alloc(size));
      });
    });
    const { client } = await start(app);
    client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\nConnection: close\r\n\r\n`);
    client.write(Buffer.alloc(size));
    let read = 0;
    client.on("data", (chunk: Buffer) => {
      read += chunk.length;
      client.pause();
      setImmediate(() => client.resume());
    });
    await once(client, "end");
    expect(read).toBeGreaterThan(size);
    expect(read).toBeLessThan(size + 1000);
  });
});

describe("what two servers might read differently is refused", () => {
  const post = (...headers: string[]): string => ["POST / HTTP/1.1", "Host: a", ...headers, "", ""].join("\r\n");
  const table: readonly [string, string, number][] = [
    ["a length and a transfer coding", `${post("Content-Length: 5", "Transfer-Encoding: chunked")}0\r\n\r\nGET /x HTTP/1.1\r\n`, 400],
    ["two lengths", `${post("Content-Length: 5", "Content-Length: 6")}hello`, 400],
    ["two equal lengths", `${post("Content-Length: 5", "Content-Length: 5")}hello`, 400],
    ["a length list", `${post("Content-Length: 5, 5")}hello`, 400],
    ["a signed length", `${post("Content-Length: +5")}hello`, 400],
    ["chunked twice", `${post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked")}0\r\n\r\n`, 400],
    ["a coding before chunked", `${post("Transfer-Encoding: gzip, chunked")}0\r\n\r\n`, 501],
    ["chunked not last", `${post("Transfer-Encoding: chunked, identity")}0\r\n\r\n`, 400],
    ["a coding hidden by a vertical tab", `${post("Transfer-Encoding: \x0bchunked")}0\r\n\r\n`, 400],
    ["chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400],
    ["a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", 400],
    ["a folded header", "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n\r\n", 400],
    ["a bare LF", "GET / HTTP/1.1\nHost: a\n\n", 400],
    ["a bare CR in a header", "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\rX-B: 2\r\n\r\n", 400],
    ["a NUL in a header", "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\x002\r\n\r\n", 400],
    ["two Host headers", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400],
    ["no Host header", "GET / HTTP/1.1\r\n\r\n", 400],
    ["a target that is neither path nor URL", "GET world HTTP/1.1\r\nHost: a\r\n\r\n", 400],
    ["a chunk size that is no number", `${post("Transfer-Encoding: chunked")}zz\r\nhello\r\n0\r\n\r\n`, 400],
    ["a chunk size with a sign", `${post("Transfer-Encoding: chunked")}-5\r\nhello\r\n0\r\n\r\n`, 400],
    ["a head of more than 16 KiB", get(`X-Big: ${"x".repeat(17_000)}`), 431],
    ["HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505],
    ["version 2.0 in the words of version 1", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505],
    ["HTTP/2 that is none", "PRI * HTTP/2.0\r\nHost: a\r\n\r\nSM\r\n\r\n", 400],
    ["CONNECT", "CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n", 405],
  ];
  for (const [claim, request, status] of table) {
    test(claim, async () => {
      let reached = 0;
      const { client } = await start(await tcpApp((socket) => {
        socket.on("error", () => undefined).on("data", (bytes: Buffer) => {
          // What was refused within its body has reached the app as an unfinished request; it may not be a finished one.
          if (String(bytes).includes("\r\n0\r\n")) reached++;
        });
      }));
      client.write(request, "latin1");
      expect(await readUntil(client, "\r\n")).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
      expect(reached).toBe(0);
      client.destroy();
    });
  }

  test("a second request hidden in a refused one never reaches the app", async () => {
    const app = await mirror();
    let requests = 0;
    app.server.on("request", () => requests++);
    const { client } = await start(app);
    const answer = await exchange(client, `${post("Content-Length: 4", "Transfer-Encoding: chunked")}0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n`);
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 400"]);
    expect(requests).toBe(0);
  });

  test("a response with a length and a transfer coding is not passed on", async () => {
    const { client } = await start(await rawApp("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
    expect(await exchange(client, get())).toMatch(/^HTTP\/1\.1 502 /);
  });
});

describe("upgrades", () => {
  const upgrade = (to: string): string => `GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${to}\r\nSec-WebSocket-Key: x\r\n\r\n`;

  test("a WebSocket passes, with the client's identity on its head", async () => {
    const { client } = await start(await tcpApp((socket) => {
      void readUntil(socket.on("error", () => undefined), "\r\n\r\n").then((head) => {
        socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n");
        socket.write(`${/countersign-client-id: (\S+)/.exec(head)?.[1]} ${/upgrade: (\S+)/i.exec(head)?.[1]}|`);
        socket.pipe(socket);
      });
    }));
    client.write(upgrade("websocket"));
    const head = await readUntil(client, "|");
    expect(head).toMatch(/^HTTP\/1\.1 101 [^]*Sec-WebSocket-Accept: y[^]*spiffe:\/\/east\/hello websocket\|$/);
    client.write("frame");
    expect(await readUntil(client, "frame")).toBe("frame");
    client.end();
    expect((await readAll(client)).ending).toBe("end");
  });

  test("an app that does not switch keeps speaking HTTP, and the connection ends after its answer", async () => {
    const { client } = await start(await rawApp("HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nsorr"));
    const answer = await exchange(client, upgrade("websocket"));
    expect(answer).toMatch(/^HTTP\/1\.1 403 No\r\n[^]*sorr$/);
  });

  test("an upgrade behind a request that is not answered yet waits for its turn", async () => {
    const slow = Promise.withResolvers<ServerResponse>();
    let upgrades = 0;
    const app = await httpApp((_request, response) => slow.resolve(response));
    app.server.on("upgrade", (_request, socket) => {
      upgrades++;
      socket.end("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    });
    const { client } = await start(app);
    client.write(`GET /slow HTTP/1.1\r\nHost: a\r\n\r\n${upgrade("websocket")}`);
    const response = await slow.promise;
    response.write("begun");
    await readUntil(client, "begun");
    expect(upgrades).toBe(0);
    response.end();
    expect((await exchange(client, "")).match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 101"]);
  });

  test("CONNECT behind a request is refused after its answer, and what follows is not read", async () => {
    const { client } = await start(await mirror());
    const answer = await exchange(client, `GET / HTTP/1.1\r\nHost: a\r\n\r\nCONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n${get()}`);
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 405"]);
  });

  test("an app that switches to something else is no answer", async () => {
    const { client } = await start(await rawApp("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"));
    expect(await exchange(client, upgrade("websocket"))).toMatch(/^HTTP\/1\.1 502 /);
  });

  test("an upgrade behind an answered request passes", async () => {
    const app = await httpApp((_request, response) => response.end("answered"));
    app.server.on("upgrade", (_request, socket) => socket.end("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
    const { client } = await start(app);
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await readUntil(client, "answered");
    expect(await exchange(client, upgrade("websocket"))).toMatch(/^HTTP\/1\.1 101 /);
  });

  test("an upgrade to h2c is ignored, since identity headers could not be checked behind it", async () => {
    const { client } = await start(await mirror());
    client.write(upgrade("h2c").replace("Upgrade\r\n", "Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"));
    const answer = await readUntil(client, "}");
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(mirrored(answer).rawHeaders.map((header) => header.toLowerCase())).not.toContain("upgrade");
  });
});

describe("the end of a connection", () => {
  test("a client revoked in the middle of a response is cut at once, and so is its request at the app", async () => {
    const arrived = Promise.withResolvers<ServerResponse>();
    const { half, client } = await start(await httpApp((_request, response) => {
      response.write("beginning");
      arrived.resolve(response);
    }));
    client.write(get());
    await readUntil(client, "beginning");
    const { socket } = await arrived.promise;
    const cancelled = new Promise((resolve) => socket?.once("close", resolve));
    half.holder.setRevoked(new Set([hello.serialNumber]));
    expect(half.path.connections.count()).toBe(0);
    expect((await readAll(client)).ending).toBe("reset");
    await cancelled;
  });

  test("draining ends idle connections at once and busy ones after their response", async () => {
    const arrived = Promise.withResolvers<ServerResponse>();
    const { half, client: idle, connect } = await start(await httpApp((request, response) => {
      if (request.url === "/slow") arrived.resolve(response);
      else response.end("quick.");
    }));
    const [busy, fresh] = [await connect(), await connect()];
    idle.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await readUntil(idle, "quick.");
    busy.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    const response = await arrived.promise;
    half.path.stopAccepting();
    const drained = half.path.drained(20_000);
    for (const client of [idle, fresh]) expect((await readAll(client)).ending).toBe("end");
    response.end("slow.");
    const answer = String((await readAll(busy)).bytes);
    expect(answer).toMatch(/connection: close\r\n[^]*slow\.$/);
    await drained;
    expect(half.path.connections.count()).toBe(0);
  });
});

/** An app that answers everything with these bytes. */
async function rawApp(answer: string, then: (socket: Socket) => void = () => undefined): Promise<TestServer> {
  return tcpApp((socket) => {
    socket.on("error", () => undefined).once("data", () => {
      socket.write(answer, "latin1");
      then(socket);
    });
  });
}
