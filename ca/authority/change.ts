import { isPublished } from "../authority-tree.ts";
import { encodeEntry, type Actor, type AuditEvent } from "../audit/event.ts";
import type { AuthorityState } from "../contract/authorities.ts";
import type { RevocationReason } from "../contract/revocations.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import type { Act } from "../store/acts.ts";
import type { AuthorityChange, AuthorityRow } from "../store/rows/authorities.ts";
import type { HolderRow } from "../store/rows/holders.ts";
import type { RevocationRow } from "../store/rows/revocations.ts";

export interface ChangeOptions {
  readonly actor: Actor;
  readonly nowMs: number;
  /** Of the bundle now. */
  readonly bundleSequence: number;
  readonly forced?: boolean;
  /** Who depends on what is ended, or does not trust what begins. */
  readonly holdersAffected?: number;
}

/** What a step would do, and whom it would cut off. */
export interface PreparedStep {
  readonly holders: readonly HolderRow[];
  readonly draftOn: (draft: AuthorityDraft) => void | Promise<void>;
  /** The authority whose certificates are to be replaced at once. */
  readonly renew?: string;
}

/** One change of authorities while it is put together: rows, entries and the bundle's next sequence as one act. */
export interface AuthorityDraft {
  create(row: AuthorityRow): void;
  move(row: AuthorityRow, to: Exclude<AuthorityState, "revoked">, options?: Pick<AuthorityChange, "unusedOnly" | "activateAtMs">): void;
  /** Its certificate, and the one that another root made of its key, are refused from now on; of a JWT key there are none. */
  revoke(row: AuthorityRow, reason: RevocationReason): void;
  act(): Act;
}

/** Begins a change; where a root comes into the bundle or leaves it, the bundle's sequence rises in the same commit. */
export function authorityDraft({ actor, nowMs, bundleSequence, forced = false, holdersAffected }: ChangeOptions): AuthorityDraft {
  const add: AuthorityRow[] = [];
  const changes: AuthorityChange[] = [];
  const revocations: Omit<RevocationRow, "sequence">[] = [];
  const revoked: Extract<AuditEvent, { readonly type: "authority.revoked" }>[] = [];
  const events: AuditEvent[] = [];
  const next = bundleSequence + 1;
  let bundleChanges = false;

  /** What entries say of a row that is in the bundle before or after. */
  function about(row: AuthorityRow, to: AuthorityState) {
    const changed = isPublished(row) !== isPublished({ ...row, state: to });
    bundleChanges ||= changed;
    return {
      ...(changed && { bundleSequence: next }),
      ...(forced && { forced: true as const, ...(holdersAffected !== undefined && { holdersAffected }) }),
    };
  }

  return {
    create(row) {
      const published = isPublished(row);
      bundleChanges ||= published;
      const created = published ? { ...row, publishedSequence: next } : row;
      add.push(created);
      events.push(authorityCreated(created));
    },
    move(row, to, options = {}) {
      const { id: authorityId, state: from } = row;
      changes.push({ authorityId, from, to, atMs: nowMs, ...options });
      events.push({ type: "authority.state-changed", authorityId, from, to, ...about(row, to) });
    },
    revoke(row, reason) {
      const { id: authorityId, state: from } = row;
      changes.push({ authorityId, from, to: "revoked", atMs: nowMs });
      const also = about(row, "revoked");
      if (row.type === "jwt") return void events.push({ type: "authority.state-changed", authorityId, from, to: "revoked", ...also });
      for (const { serialNumber, notAfterMs, authorityKeyIdentifier } of certificatesOf(row)) {
        const listedBy = authorityKeyIdentifier === undefined ? authorityId : Buffer.from(authorityKeyIdentifier).toString("hex");
        revocations.push({ serialNumber, reason, revokedAtMs: nowMs, notAfterMs, authorityId: listedBy });
        revoked.push({ type: "authority.revoked", authorityId, serialNumber, from, reason, ...also });
      }
    },
    act() {
      const [first, ...rest] = [...revoked, ...events].map((event) => encodeEntry(event, actor, nowMs));
      if (first === undefined) throw new TypeError("a change of authorities that changes nothing");
      return {
        kind: "change-authorities", add, changes, revocations, entries: [first, ...rest],
        ...(bundleChanges && { bundleSequence: { from: bundleSequence, to: next } }),
      };
    },
  };
}

/** What the log says of a new authority. */
export function authorityCreated(row: Omit<AuthorityRow, "key">): AuditEvent {
  const { id: authorityId, type: authorityType, state, parentId, crossCertificate, publishedSequence } = row;
  const certificate = parseCertificate(row.certificate);
  return {
    type: "authority.created", authorityId, authorityType,
    fingerprint: certificate.fingerprint,
    serialNumber: certificate.serialNumber,
    notBefore: new Date(certificate.notBeforeMs).toISOString(),
    notAfter: new Date(certificate.notAfterMs).toISOString(),
    ...(parentId !== undefined && { signedBy: parentId }),
    ...(state !== "active" && { state }),
    ...(crossCertificate !== undefined && { crossFingerprint: parseCertificate(crossCertificate).fingerprint }),
    ...(publishedSequence !== undefined && { bundleSequence: publishedSequence }),
  };
}

function certificatesOf({ certificate, crossCertificate }: AuthorityRow): readonly Certificate[] {
  return [certificate, ...(crossCertificate === undefined ? [] : [crossCertificate])].map(parseCertificate);
}
