import type { UpstreamInvitation } from "../config/upstream.ts";
import type { Log } from "../log.ts";
import { SignerError } from "../signer/errors.ts";
import type { Sealing } from "../signer/sealing.ts";
import type { ReportRow } from "../store/rows/reports.ts";
import type { Store } from "../store/store.ts";
import { UpstreamError } from "./errors.ts";

/** How this CA is known to the one above it, as it is kept: sealed, in the store, for all replicas. */
export interface Membership {
  readonly url: string;
  readonly parentTrustDomain: string;
  readonly rootFingerprint: string;
  readonly tls: UpstreamInvitation["tls"];
  /** Once redeemed it is good only together with a proof by the last identity's key. */
  readonly token: string;
  /** PEM: chain, and key in PKCS#8. Maybe expired. */
  readonly identity?: { readonly chain: string; readonly key: string };
  /** What was asked for and may have been answered: asked again unchanged, it gives the same certificate. */
  readonly request?: { readonly key: string; readonly csr: string; readonly idempotencyKey: string };
}

/** A membership with what is needed to swap it for its successor. */
export interface HeldMembership {
  readonly membership: Membership;
  /** The row it was read from. */
  readonly body: string;
}

export interface MembershipDeps {
  readonly store: Pick<Store, "reports" | "swapReport">;
  readonly sealing: Sealing;
  readonly invitation: UpstreamInvitation;
  readonly log: Log;
  readonly now: () => Date;
}

/** Keeps it. Each write is a compare-and-swap, so that of replicas that act at once all go on with what one of them made. */
export function membershipKeeper({ store, sealing, invitation, log, now }: MembershipDeps) {
  async function read(): Promise<HeldMembership | undefined> {
    const row = await readRow(store, now().getTime());
    if (row === undefined) return undefined;
    try {
      return { membership: unsealMembership(row.body, sealing), body: row.body };
    } catch (err) {
      if (!(err instanceof SignerError)) throw err;
      log.error({ err }, "how this CA is known to the one above it cannot be unsealed; it begins anew with the string of upstreamFile");
      return undefined;
    }
  }

  async function swap(next: Membership, before: HeldMembership | undefined): Promise<HeldMembership> {
    const nowMs = now().getTime();
    const body = sealMembership(next, sealing);
    const expected = before?.body ?? (await readRow(store, nowMs))?.body;
    if (await store.swapReport({ ...place, body, reportedAtMs: nowMs, expiresAtMs: nowMs + retentionMs }, expected)) return { membership: next, body };
    const other = await read();
    if (other === undefined) throw new UpstreamError("upstream_identity", "how this CA is known to the one above it could not be kept; try again");
    return other;
  }

  async function open(): Promise<HeldMembership> {
    const held = await read();
    const { url, parentTrustDomain, rootFingerprint, token, tls } = invitation;
    const invited = { url, parentTrustDomain, rootFingerprint, token, tls };
    if (held === undefined) return swap(invited, undefined);
    if (held.membership.parentTrustDomain !== parentTrustDomain) {
      throw new UpstreamError("upstream_changed", `this store's CA runs under ${held.membership.parentTrustDomain}, and the string is from ${parentTrustDomain}: everybody here trusts that root; start a new CA for the other one`);
    }
    return held.membership.token === token ? held : swap(invited, held);
  }

  return {
    /**
     * What is held, or the invitation where nothing is. A new string of the same CA is an operator's word that what is held is no good: that CA was restored, say, and
     * does not know the identity, or revoked it.
     * @throws {UpstreamError} upstream_changed
     */
    open,
    /** @returns what is held afterwards: `next`, or what another replica made meanwhile */
    swap,
  };
}

export type MembershipKeeper = ReturnType<typeof membershipKeeper>;

/**
 * Seals what is kept of the CA above under another sealing key.
 * @returns whether there is something
 * @throws {SignerError}
 */
export async function resealMembership(store: Pick<Store, "reports" | "swapReport">, from: Sealing, to: Sealing, nowMs: number): Promise<boolean> {
  const row = await readRow(store, nowMs);
  if (row === undefined) return false;
  return store.swapReport({ ...row, body: sealMembership(unsealMembership(row.body, from), to) }, row.body);
}

async function readRow(store: Pick<Store, "reports">, nowMs: number): Promise<ReportRow | undefined> {
  const [row] = await store.reports({ kind: place.kind, name: place.name, nowMs, limit: 1 });
  return row;
}

function sealMembership(membership: Membership, sealing: Sealing): string {
  return JSON.stringify({ sealed: Buffer.from(sealing.seal(sealedName, Buffer.from(JSON.stringify(membership)))).toString("base64") });
}

function unsealMembership(body: string, sealing: Sealing): Membership {
  const { sealed } = JSON.parse(body) as { readonly sealed: string };
  return JSON.parse(Buffer.from(sealing.unseal(sealedName, Buffer.from(sealed, "base64"))).toString()) as Membership;
}

const place = { kind: "upstream", name: "membership", part: "" } as const;
const sealedName = "membership of the CA above";
/** Written anew with each renewal. */
const retentionMs = 10 * 365 * 86_400_000;
