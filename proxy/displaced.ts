/** Of a connection, what decides whether it has to go. */
export interface Displaceable {
  readonly clientId: string;
  /** When bytes last passed, in milliseconds since some moment. */
  readonly movedAtMs: number;
}

/**
 * Picks what is ended so that another client is let in where everything is taken: of the client that holds more than half, the
 * connection on which nothing has moved for the longest. So nobody is kept out by one who holds on to all there is.
 * @returns undefined where nobody holds so many, or the newcomer does
 */
export function displacedFor<T extends Displaceable>(newcomerId: string, open: Iterable<T>): T | undefined {
  let total = 0;
  const byClient = new Map<string, { count: number; stillest: T }>();
  for (const connection of open) {
    total += 1;
    const held = byClient.get(connection.clientId);
    if (held === undefined) byClient.set(connection.clientId, { count: 1, stillest: connection });
    else {
      held.count += 1;
      if (connection.movedAtMs < held.stillest.movedAtMs) held.stillest = connection;
    }
  }
  for (const [clientId, { count, stillest }] of byClient) if (count > total / 2) return clientId === newcomerId ? undefined : stillest;
  return undefined;
}
