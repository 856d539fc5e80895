import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** The network between a store and Postgres, which can be cut where it hurts. */
export interface BreakableLink {
  /** Of the same database, by way of this link. */
  readonly url: string;
  /**
   * Cuts the connection once, at the next COMMIT: `before` loses it on its way to the server, `after` loses the answer.
   * @param andStayDown  cuts every other connection too and refuses new ones
   */
  cutAtCommit(when: "before" | "after", andStayDown?: boolean): void;
  /** Cuts the connection once, when the next transaction begins. */
  cutAtBegin(andStayDown?: boolean): void;
  /** Resets the connection once, when the database is asked whether it takes writes: what a firewall does that has forgotten it. */
  resetAtLook(): void;
  /** Nothing comes through any more, and nobody is told: what a network does whose cable is pulled. */
  swallow(): void;
  /**
   * Holds back what the connections that are open now send to the server, and does not pass on that the server ends them: a query is
   * under way for as long as a test likes. Resolves when one is.
   */
  hold(): Promise<void>;
  restore(): void;
  close(): Promise<void>;
}

/** @param databaseUrl  of a Postgres on a Unix socket */
export async function breakableLink(databaseUrl: string): Promise<BreakableLink> {
  const target = new URL(databaseUrl);
  const socketPath = `${target.searchParams.get("host")}/.s.PGSQL.5432`;
  const open = new Set<Socket>();
  let down = false;
  let swallowing = false;
  const held = new Set<Socket>();
  let onHeld: (() => void) | undefined;
  let cut: { readonly marker: string; readonly from: "client" | "server"; readonly stayDown: boolean; readonly reset?: boolean } | undefined;

  const server = createServer((client) => {
    if (down) {
      client.destroy();
      return;
    }
    const upstream = connect(socketPath);
    const destroy = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("error", destroy);
      socket.on("close", () => {
        open.delete(socket);
        if (socket === client || !held.has(client)) destroy();
      });
    }
    const forward = (from: "client" | "server", to: Socket) => (chunk: Buffer) => {
      if (cut?.from === from && chunk.includes(cut.marker)) {
        down = cut.stayDown;
        if (cut.reset === true) client.resetAndDestroy();
        cut = undefined;
        for (const socket of down ? open : [client]) socket.destroy();
        return;
      }
      if (from === "client" && held.has(client)) return onHeld?.();
      if (!swallowing) to.write(chunk);
    };
    client.on("data", forward("client", upstream));
    upstream.on("data", forward("server", client));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    url: `postgres://postgres@127.0.0.1:${(server.address() as AddressInfo).port}${target.pathname}`,
    cutAtCommit(when, andStayDown = false) {
      // The query as it is sent, and the tag with which it is answered.
      cut = { marker: when === "before" ? "commit\0" : "COMMIT\0", from: when === "before" ? "client" : "server", stayDown: andStayDown };
    },
    cutAtBegin(andStayDown = false) {
      cut = { marker: "begin isolation", from: "client", stayDown: andStayDown };
    },
    resetAtLook() {
      cut = { marker: "transaction_read_only", from: "client", stayDown: false, reset: true };
    },
    swallow() {
      swallowing = true;
    },
    hold() {
      for (const socket of open) held.add(socket);
      return new Promise((resolve) => (onHeld = resolve));
    },
    restore() {
      down = false;
      if (swallowing) for (const socket of open) socket.destroy();
      swallowing = false;
      cut = undefined;
    },
    async close() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
