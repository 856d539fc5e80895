import { createHash, randomBytes } from "node:crypto";
import type { SignInLink } from "../contract/sign-ins.ts";
import { encodeEntry } from "../audit/event.ts";
import type { Caller, CaServices } from "../http/services.ts";
import { parseSpiffeId } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import type { ReportRow } from "../store/rows/reports.ts";

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
   * @throws {Refusal} forbidden | rate_limited
   */
  start(caller: Caller): Promise<StartedSession>;
  /** A link by which a browser becomes the caller's, once. */
  offer(caller: Caller): Promise<SignInLink>;
  /** Who a link is for, which it stays; undefined when it is over or was used. @param code the last part of its path */
  offeredTo(code: string): Promise<Caller | undefined>;
  /** Signs in by a link, the first time at any replica. @throws {Refusal} unauthenticated | forbidden | rate_limited */
  accept(code: string): Promise<StartedSession>;
  /** The caller that a cookie stands for, with the role it has now: nobody once its token is deleted, its certificate revoked or its role taken back. */
  callerOf(secret: string | undefined): Promise<Caller | undefined>;
  end(secret: string): Promise<void>;
}

/** Sessions of the dashboard. They are in the store, so that any replica knows them and a sign-out holds for all; a restart ends none. */
export function dashboardSessions({ store, now, tokenCaller, operators }: SessionDeps): Sessions {
  async function start(caller: Caller): Promise<StartedSession> {
    if (caller.role === "workload") {
      throw new Refusal("forbidden", `The dashboard is for operators, and no role is bound to ${caller.name}; an admin binds one with: countersign operator add.`);
    }
    const nowMs = now().getTime();
    await makeRoom(caller.actor, nowMs);
    const secret = randomBytes(secretBytes).toString("base64url");
    const name = nameOf(secret);
    const expiresAtMs = Math.min(nowMs + lifetimeMs, caller.certificate?.notAfterMs ?? Infinity);
    const event = { type: "session.started", session: name.slice(0, 16), role: caller.role, expiresAt: new Date(expiresAtMs).toISOString() } as const;
    await store.commit({ kind: "record", entries: [encodeEntry(event, caller.actor, nowMs)] });
    await store.report({ kind: "session", name, part: "", body: keptOf(caller), reportedAtMs: nowMs, expiresAtMs });
    return { secret, lifetimeSeconds: Math.floor((expiresAtMs - nowMs) / 1000) };
  }

  /** Who is meant, as they are now. */
  async function callerBehind(kind: "session" | "sign-in", secret: string | undefined): Promise<Caller | undefined> {
    if (secret === undefined || !secretForm.test(secret)) return undefined;
    const nowMs = now().getTime();
    const [row] = await store.reports({ kind, name: nameOf(secret), nowMs, limit: 1 });
    if (row === undefined) return undefined;
    const { actor, serialNumber } = JSON.parse(row.body) as KeptSession;
    if (serialNumber === undefined) return tokenCaller(actor);
    const certificate = await store.certificate(serialNumber);
    if (certificate === undefined || certificate.revokedAtMs !== undefined || nowMs > certificate.notAfterMs) return undefined;
    const caller = await operators.callerOf(parseSpiffeId(actor));
    return caller.role === "workload" ? undefined : { ...caller, certificate: { serialNumber, notAfterMs: certificate.notAfterMs } };
  }

  return {
    start,
    callerOf: (secret) => callerBehind("session", secret),
    async end(secret) {
      await store.dropReports([{ kind: "session", name: nameOf(secret), part: "" }]);
    },
    async offer(caller) {
      const code = randomBytes(secretBytes).toString("base64url");
      const nowMs = now().getTime();
      const expiresAtMs = nowMs + offerMs;
      await store.report({ kind: "sign-in", name: nameOf(code), part: "", body: keptOf(caller), reportedAtMs: nowMs, expiresAtMs });
      return { path: `/ui/sign-in/${code}`, expiresAt: new Date(expiresAtMs).toISOString() };
    },
    offeredTo: (code) => callerBehind("sign-in", code),
    async accept(code) {
      const caller = await callerBehind("sign-in", code);
      const name = nameOf(code);
      // Of two replicas that are asked at once one is told that it is the first.
      const isFirst = caller !== undefined && (await store.spendRequest({ spiffeId: caller.actor, nonce: `sign-in ${name}`, untilMs: now().getTime() + 2 * offerMs }, now().getTime()));
      if (!isFirst) throw new Refusal("unauthenticated", "This link was used, or is over: it is good once, for two minutes. Make another with: countersign dashboard.");
      await store.dropReports([{ kind: "sign-in", name, part: "" }]);
      return start(caller);
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

function keptOf({ actor, certificate }: Caller): string {
  return JSON.stringify({ actor, serialNumber: certificate?.serialNumber } satisfies KeptSession);
}

function nameOf(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

const secretBytes = 32;
const secretForm = /^[A-Za-z0-9_-]{43}$/;
/** A working day. */
const lifetimeMs = 8 * 3_600_000;
const offerMs = 2 * 60_000;
const maxSessionsOfOne = 8;
const maxSessions = 500;
