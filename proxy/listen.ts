import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";
import { anyHost, formatSocketAddress, type SocketAddress } from "./address.ts";

/** Listens, and says where: `host:port`. Rejects with the error of the system. */
export async function listen(server: Server, { host, port }: SocketAddress): Promise<string> {
  // Without a host Node takes `::`, IPv4 included, or 0.0.0.0 where there is no IPv6.
  server.listen({ ...(host !== anyHost && { host }), port, backlog: listenBacklog });
  await once(server, "listening");
  const { address, port: bound } = server.address() as AddressInfo;
  return formatSocketAddress({ host: host === anyHost ? anyHost : address, port: bound });
}

/** The kernel's own ceiling (net.core.somaxconn) applies on top. */
const listenBacklog = 1024;
