import type { Direction, NewConnection } from "./connections.ts";
import type { Labels, Metrics } from "./metrics.ts";
import type { Peer } from "./peer.ts";

/** A connection as the metrics see it. */
export interface Counted {
  readonly given: Pick<NewConnection, "traffic">;
  readonly labels: Labels;
  /** What the metrics know already. */
  bytesRead: number;
  bytesWritten: number;
}

/** Labels of the connections of a peer: one object for all of them, which the metrics know again. */
export function peerLabels(direction: Direction): (connection: NewConnection) => Labels {
  const known = new WeakMap<Peer, Labels>();
  return ({ peer, localId, noTlsReason = "" }) => {
    if (peer === undefined) {
      const [clientId, serverId] = direction === "inbound" ? ["", localId] : [localId, ""];
      return { direction, tls: "false", client_id: clientId, server_id: serverId, no_tls_reason: noTlsReason };
    }
    const before = known.get(peer);
    const [clientId, serverId] = direction === "inbound" ? [peer.svid.id.uri, localId] : [localId, peer.svid.id.uri];
    if (before?.["client_id"] === clientId && before["server_id"] === serverId) return before;
    const labels = { direction, tls: "true", client_id: clientId, server_id: serverId, no_tls_reason: "" };
    known.set(peer, labels);
    return labels;
  };
}

/** Names and labels as in Linkerd, whose boards people have. */
export function connectionMetrics(metrics: Metrics, direction: Direction) {
  const names = ["direction", "tls", "client_id", "server_id", "no_tls_reason"];
  const opened = metrics.counter("tcp_open_total", "Connections opened; under mutual TLS, once the peer is verified", names);
  const open = metrics.gauge("tcp_open_connections", "Connections open now", names);
  const closed = metrics.counter("tcp_close_total", "Connections closed", names);
  const read = metrics.counter("tcp_read_bytes_total", "Bytes read from peers, after decryption", names);
  const written = metrics.counter("tcp_write_bytes_total", "Bytes written to peers, before encryption", names);
  const appTls = metrics.counter("tcp_app_tls_total", "Connections in which the apps speak TLS of their own, carried as it is", names);
  const cut = metrics.counter("connections_cut_total", "Connections ended because their reason to exist was gone", ["direction", "reason"]);
  return {
    opened({ labels }: Counted) {
      opened.inc(labels);
      open.add(1, labels);
    },
    closed({ labels }: Counted) {
      closed.inc(labels);
      open.add(-1, labels);
    },
    /** @returns whether bytes have passed since the last time */
    traffic(connection: Counted): boolean {
      const { bytesRead, bytesWritten } = connection.given.traffic();
      read.inc(connection.labels, bytesRead - connection.bytesRead);
      written.inc(connection.labels, bytesWritten - connection.bytesWritten);
      const moved = bytesRead !== connection.bytesRead || bytesWritten !== connection.bytesWritten;
      connection.bytesRead = bytesRead;
      connection.bytesWritten = bytesWritten;
      return moved;
    },
    appTls: ({ labels }: Counted) => appTls.inc(labels),
    cut: (reason: string) => cut.inc({ direction, reason }),
  };
}
