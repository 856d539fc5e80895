import type { ProxyConfig } from "./config/config.ts";
import type { Exchanges } from "./exchanges.ts";
import type { IdentitySource } from "./identity/source.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";

/** What each half of the data path is given. */
export interface DataPathDeps {
  readonly config: ProxyConfig;
  readonly source: IdentitySource;
  readonly metrics: Metrics;
  readonly exchanges: Exchanges;
  readonly log: Log;
}

/** One running half, inbound or outbound. Its listeners are open when it is handed out, and refuse while there is no identity. */
export interface DataPath {
  /** What it listens on, `host:port`. */
  readonly addresses: readonly string[];
  /** Closes the listeners; open connections go on. */
  stopAccepting(): void;
  /** Resolves when the last connection has ended, or after `timeoutMs`, whichever is first; never rejects. */
  drained(timeoutMs: number): Promise<void>;
  /** Cuts everything. */
  close(): void;
  /** Why it is not ready to serve, for `/readyz`; undefined when it is. */
  unready?(): string | undefined;
}
