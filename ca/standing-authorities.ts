import { AuthorityError } from "./authority/errors.ts";
import { readRoot } from "./authority/import-root.ts";
import type { CaConfig } from "./config/config.ts";
import { readRootFile } from "./first-start.ts";
import type { AuthorityRow } from "./store/rows/authorities.ts";

/**
 * Holds the authorities in the store against what is configured: whoever configured another root, or another CA above, is told at the
 * start, not on the day it matters.
 * @throws {AuthorityError} root_changed | root_* | authority_missing
 */
export function checkAuthorities(config: CaConfig, rows: readonly AuthorityRow[]): void {
  checkRoot(config, rows);
  checkParent(rows);
  checkUpstream(config, rows);
}

/** A root that is configured but not used would be a surprise on the day it matters. */
function checkRoot({ rootCertPath }: CaConfig, rows: readonly AuthorityRow[]): void {
  if (rootCertPath === undefined) return;
  const { der } = readRoot(readRootFile(rootCertPath));
  if (rows.some(({ type, certificate }) => type === "root" && Buffer.compare(certificate, der) === 0)) return;
  throw new AuthorityError(
    "root_changed",
    `${rootCertPath} is not a root of this CA, which has been running with another one since its first start; remove ` +
      "rootCert and rootKey to go on with it",
  );
}

/** A root that is offline signs no issuer: without an intermediate there is nothing to start with. */
function checkParent(rows: readonly AuthorityRow[]): void {
  const lives = ({ state }: AuthorityRow): boolean => state === "active" || state === "prepared";
  const canSign = rows.some((row) => lives(row) && (row.type === "intermediate" || (row.type === "root" && row.key.kind !== "offline")));
  if (canSign || rows.some((row) => row.type === "issuer" && lives(row))) return;
  throw new AuthorityError(
    "authority_missing",
    "the root's key is offline and there is no intermediate to sign issuers with; hold a ceremony: countersign ceremony request intermediate",
  );
}

/** Whose root it is, is decided at the first start: everybody trusts it. */
function checkUpstream({ upstream }: CaConfig, rows: readonly AuthorityRow[]): void {
  const isBelow = rows.some(({ key }) => key.kind === "upstream");
  if (isBelow === (upstream !== undefined)) return;
  throw new AuthorityError(
    "root_changed",
    isBelow ? "this CA runs under another one since its first start, and upstreamFile names none; set it again"
      : "this CA has a root of its own since its first start, which its workloads trust; remove upstreamFile, or start a new CA with a store of its own",
  );
}
