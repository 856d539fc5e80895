import type { CaConfig } from "../config/config.ts";
import { crlCeremony, type CrlCeremony } from "../revocation/crl-ceremony.ts";
import { crlContent } from "../revocation/crl-content.ts";
import { revocationIndex } from "../revocation/revocation-index.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { Store } from "../store/store.ts";

/** CRLs of authorities as they are now, for a key that is elsewhere. */
export function offlineCrls({ store, config, now, rows }: {
  readonly store: Store;
  readonly config: CaConfig;
  readonly now: () => Date;
  readonly rows: readonly AuthorityRow[];
}): CrlCeremony {
  const index = revocationIndex({ store, now, isLive: (id) => rows.some((row) => row.id === id && content.isLive(row)) });
  const content = crlContent({ index, authorities: () => rows, statusUrl: config.statusUrl, now });
  return crlCeremony({ store, content, refresh: index.refresh, now });
}
