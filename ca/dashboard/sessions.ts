import { createHash, randomBytes } from "node:crypto";
import { encodeEntry } from "../audit/event.ts";
import type { Caller, CaServices } from "../http/services.ts";
import { parseSpiffeId } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import type { ReportRow } from "../store/store.ts";

export type SessionDeps = Pick<CaServices, "store" | "now" | "tokenCaller" | "operators">;

/** Who is signed in, as it is kept: of what the browser holds there is only the hash, and of the role nothing, since that may change. */
interface KeptSession {
  readonly actor: string;
  /** Of an SVID whose key signed in: the certificate, which must not be revoked. */
  readonly serialNumber?: string | undefined;
}

export interface StartedSession {
  /** For the browser's cookie; a secret. */
  readonly secret: string;
  readonly lifetimeSeconds: number;
}

export interface Sessions {
  /**
   * Signs a caller in; it is in the audit log when it resolves, and every replica knows it.
   * @param svid  the certificate that proved who it is; absent for an API token
   * @throws {Refusal} forbidden | rate_limited
   */
  start(caller: Caller, svid?: { readonly serialNumber: string; readonly notAfterMs: number }): Promise<StartedSession>;
  /** The caller that a cookie stands for, with the role it has now: nobody once its token is deleted, its certificate revoked or its role taken back. */
  callerOf(secret: string | undefined): Promise<Caller | undefined>;
  end(secret: string): Promise<void>;
}

/** Sessions of the dashboard. They are in the store, so that any replica knows them and a sign-out holds for all; a restart ends none. */
export function dashboardSessions({ store, now, tokenCaller, operators }: SessionDeps): Sessions {
  return {
    async start(caller, svid) {
      if (caller.role === "workload") {
        throw new Refusal("forbidden", `The dashboard is for operators, and no role is bound to ${caller.name}; an admin binds one with: countersign operator add.`);
      }
      const nowMs = now().getTime();
      await makeRoom(caller.actor, nowMs);
      const secret = randomBytes(secretBytes).toString("base64url");
      const name = nameOf(secret);
      const expiresAtMs = Math.min(nowMs + lifetimeMs, svid?.notAfterMs ?? Infinity);
      const event = { type: "session.started", session: name.slice(0, 16), role: caller.role, expiresAt: new Date(expiresAtMs).toISOString() } as const;
      await store.commit({ kind: "record", entries: [encodeEntry(event, caller.actor, nowMs)] });
      const kept: KeptSession = { actor: caller.actor, serialNumber: svid?.serialNumber };
      await store.report({ kind: "session", name, part: "", body: JSON.stringify(kept), reportedAtMs: nowMs, expiresAtMs });
      return { secret, lifetimeSeconds: Math.floor((expiresAtMs - nowMs) / 1000) };
    },
    async callerOf(secret) {
      if (secret === undefined || !secretForm.test(secret)) return undefined;
      const nowMs = now().getTime();
      const [row] = await store.reports({ kind: "session", name: nameOf(secret), nowMs, limit: 1 });
      if (row === undefined) return undefined;
      const { actor, serialNumber } = JSON.parse(row.body) as KeptSession;
      if (serialNumber === undefined) return tokenCaller(actor);
      const certificate = await store.certificate(serialNumber);
      if (certificate === undefined || certificate.revokedAtMs !== undefined) return undefined;
      const caller = await operators.callerOf(parseSpiffeId(actor));
      return caller.role === "workload" ? undefined : caller;
    },
    async end(secret) {
      await store.dropReports([{ kind: "session", name: nameOf(secret), part: "" }]);
    },
  };

  /** Of one caller the oldest gives way; nobody else's does. */
  async function makeRoom(actor: string, nowMs: number): Promise<void> {
    const rows: readonly ReportRow[] = await store.reports({ kind: "session", nowMs, limit: maxSessions });
    const own = rows.filter(({ body }) => (JSON.parse(body) as KeptSession).actor === actor).sort((a, b) => a.reportedAtMs - b.reportedAtMs);
    const tooMany = own.slice(0, Math.max(0, own.length - maxSessionsOfOne + 1));
    if (tooMany.length > 0) await store.dropReports(tooMany);
    else if (rows.length >= maxSessions) throw new Refusal("rate_limited", `${maxSessions} sessions are open already; try again when one has ended.`, { retryAfterSeconds: 60 });
  }
}

function nameOf(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

const secretBytes = 32;
const secretForm = /^[A-Za-z0-9_-]{43}$/;
/** A working day. */
const lifetimeMs = 8 * 3_600_000;
const maxSessionsOfOne = 8;
const maxSessions = 500;
