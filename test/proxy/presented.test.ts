import type { TLSSocket } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { leafInSession, presentedChain } from "../../proxy/presented.ts";
import { east, eastIssuer } from "../support/data-path.ts";
import { tlsClient, tlsServer, type TestServer } from "../support/tcp.ts";
import { encodePem } from "../../ca/pki/pem.ts";

let server: TestServer;
afterEach(() => server.close());

/** The server's end of a connection by this client. */
async function accepted(chainPem?: string): Promise<TLSSocket> {
  const connected = Promise.withResolvers<TLSSocket>();
  server = await tlsServer(eastIssuer.leaf(), connected.resolve, { minVersion: "TLSv1.3" });
  const leaf = chainPem === undefined ? undefined : { ...hello, chainPem };
  await tlsClient(server.port, { leaf });
  return connected.promise;
}

const withSession = (session: Buffer | undefined): TLSSocket => ({ _handle: { getSession: () => session } }) as unknown as TLSSocket;

/** A session in all but its size, with a certificate of zeros. */
const tooLarge = Buffer.concat([Buffer.from("30829c48a3829c4430829c40", "hex"), Buffer.alloc(40_000)]);

const below = east.issuer().issuer({ commonName: "below" });
const hello = below.leaf({ spiffeId: "spiffe://east/hello" });
const hex = (chain: readonly Uint8Array[]): string[] => chain.map((der) => Buffer.from(der).toString("hex"));

test("the chain is read as it was presented", async () => {
  expect(hex(presentedChain(await accepted(hello.chainPem)))).toEqual(hex(hello.chain));
});

test("also when its order is not that of a path", async () => {
  const shuffled = [hello.chain[0]!, hello.chain[2]!, hello.chain[1]!];
  const socket = await accepted(shuffled.map((der) => encodePem("CERTIFICATE", der)).join(""));
  expect(hex(presentedChain(socket))).toEqual(hex(shuffled));
});

describe("the leaf in the session", () => {
  test("is the leaf that was presented", async () => {
    const socket = await accepted(hello.chainPem);
    expect(Buffer.from(leafInSession(socket) ?? []).equals(Buffer.from(hello.der))).toBe(true);
  });

  test("is that of a server, too", async () => {
    server = await tlsServer({ ...hello, chainPem: hello.chainPem }, () => undefined, { minVersion: "TLSv1.3" });
    const socket = await tlsClient(server.port, { leaf: eastIssuer.leaf() });
    expect(Buffer.from(leafInSession(socket) ?? []).equals(Buffer.from(hello.der))).toBe(true);
  });

  test("is none where none was presented", async () => {
    const socket = await accepted();
    expect(leafInSession(socket)).toBeUndefined();
    expect(presentedChain(socket)).toEqual([]);
  });

  for (const [claim, session] of [["nothing", undefined], ["no DER", Buffer.from("node:tls:session")], ["cut off", Buffer.from("3082020c0201", "hex")], ["too large", tooLarge]] as const) {
    test(`is not looked for in a session that is ${claim}`, async () => {
      const socket = await accepted(hello.chainPem);
      expect(leafInSession(withSession(session))).toBeUndefined();
      socket.destroy();
    });
  }

  test("leaves nothing of the session's secrets in memory we hold", async () => {
    const socket = await accepted(hello.chainPem);
    const session = Buffer.from(socket.getSession()!);
    leafInSession(withSession(session));
    expect(session.every((byte) => byte === 0)).toBe(true);
  });
});
