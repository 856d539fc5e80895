import type { AuditEntry, ConsistencyProof, InclusionProof } from "../contract/audit.ts";
import type { AuthoritySummary } from "../contract/authorities.ts";
import type { FederationHubs } from "../contract/federation-hubs.ts";
import type { FederationSummary } from "../contract/federation.ts";
import type { OperatorSummary } from "../contract/operators.ts";
import type { ProxyList } from "../contract/proxies.ts";
import type { Revocation } from "../contract/revocations.ts";
import type { TokenSummary } from "../contract/tokens.ts";
import type { Readiness, Vitals } from "../contract/vitals.ts";

/** What the checks judge, as read from the CA at one moment. What the caller may not read is undefined. */
export interface CheckFacts {
  /** Of this machine. */
  readonly nowMs: number;
  /** Of this program. */
  readonly version: string;
  readonly readiness: Readiness;
  readonly authorities: readonly AuthoritySummary[];
  /** PEM: the newest workload certificate, with the chain it is presented with. */
  readonly newestChain?: string | undefined;
  readonly vitals?: Vitals | undefined;
  readonly proxies?: Pick<ProxyList, "proxies" | "truncated"> | undefined;
  /** Those that some proxy may lack, oldest first. */
  readonly revocations?: readonly Revocation[] | undefined;
  readonly tokens?: readonly TokenSummary[] | undefined;
  readonly operators?: readonly OperatorSummary[] | undefined;
  /** Sequence of the bundle that is published. */
  readonly bundleSequence?: bigint | undefined;
  /** Other trust domains. */
  readonly federation?: readonly FederationSummary[] | undefined;
  readonly hubs?: FederationHubs | undefined;
  /** JSON; undefined where there was no answer, or ACME is not spoken. */
  readonly acmeDirectory?: string | undefined;
  readonly log?: LogFacts | undefined;
  /** What the caller's role may not read. */
  readonly notPermitted: readonly string[];
}

export interface LogFacts {
  /** The newest checkpoint, a signed note. */
  readonly checkpoint: string;
  /** Kept at the first start; undefined: nobody here knows it. */
  readonly verifierKey?: string | undefined;
  /** The newest entry under the checkpoint, and the proof that it is. */
  readonly newest?: { readonly entry: AuditEntry; readonly proof: InclusionProof } | undefined;
  /** Checkpoints kept elsewhere, and the proof that the newest one continues them; none where the CA gave none. */
  readonly kept: readonly { readonly where: string; readonly note: string; readonly proof?: ConsistencyProof | undefined }[];
}
