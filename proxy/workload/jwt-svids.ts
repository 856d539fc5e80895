import { PkiError } from "../../ca/pki/errors.ts";
import { verifyJwtSvid } from "../../ca/pki/jwt-svid.ts";
import { CaError } from "../ca-error.ts";
import type { Clock } from "../clock.ts";
import type { Identity, IdentitySource } from "../identity/source.ts";
import type { Metrics } from "../metrics.ts";

/** Tokens of our own identity, each asked for once and kept while it is young. */
export interface JwtSvids {
  /**
   * A token for these audiences, by a key that is in our bundle.
   * @param identity  the one in force: whose token it is
   * @throws {CaError}
   */
  fetch(audience: readonly string[], identity: Identity): Promise<string>;
}

export interface JwtSvidsDeps {
  /** Asks the CA. @throws {CaError} */
  readonly issue: (audience: readonly string[], identity: Identity) => Promise<string>;
  readonly source: IdentitySource;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

/**
 * Keeps a token for each audience until half of its life is over. A CA that does not answer then costs nothing before the token's end.
 * What the CA gave is verified before anybody gets it, as others will; the first token ever may be here before its key is.
 */
export function jwtSvidCache({ issue, source, clock, metrics }: JwtSvidsDeps): JwtSvids {
  const requests = metrics.counter("jwt_svid_requests_total", "Tokens that were asked of the CA, by result.", ["result"]);
  /** The least recently used comes first. */
  const kept = new Map<string, Kept>();
  const underWay = new Map<string, Promise<Kept>>();

  async function ask(key: string, audience: readonly string[], identity: Identity): Promise<Kept> {
    try {
      const askedAtMs = clock.now();
      const token = await issue(audience, identity);
      const expiresAtMs = await verified(token, audience, identity);
      const fresh = { token, spiffeId: identity.id.uri, expiresAtMs, renewAtMs: (askedAtMs + expiresAtMs) / 2 };
      kept.delete(key);
      kept.set(key, fresh);
      for (const oldest of kept.keys()) {
        if (kept.size <= maxKept) break;
        kept.delete(oldest);
      }
      requests.inc({ result: "issued" });
      return fresh;
    } catch (error) {
      requests.inc({ result: "failed" });
      throw error;
    }
  }

  async function renew(key: string, audience: readonly string[], identity: Identity, held: Kept): Promise<void> {
    if (underWay.has(key)) return;
    const asking = ask(key, audience, identity);
    underWay.set(key, asking);
    try {
      await asking;
    } catch {
      // Counted above; the app is told only when there is no good one any more.
      kept.set(key, { ...held, renewAtMs: clock.now() + retryMs });
    } finally {
      underWay.delete(key);
    }
  }

  /** When it ends. Waits a little for a key that is on its way to us. */
  async function verified(token: string, audience: readonly string[], { id }: Identity): Promise<number> {
    const deadlineMs = clock.now() + keyWaitMs;
    for (;;) {
      try {
        const svid = check(token, audience[0] ?? "");
        if (svid.id.uri !== id.uri) throw new CaError("ca_answer_invalid", "the CA's token is for another identity");
        return svid.expiresAtMs;
      } catch (cause) {
        if (!(cause instanceof PkiError)) throw cause;
        if (cause.code !== "jwt_svid_key_unknown") throw new CaError("ca_answer_invalid", `the CA's token does not verify: ${cause.message}`, { cause });
        const waitMs = deadlineMs - clock.now();
        if (waitMs <= 0) throw new CaError("ca_unavailable", "the key of the CA's token is not in our bundle yet; try again", { cause });
        await changeOfTrust(waitMs);
      }
    }
  }

  function check(token: string, audience: string) {
    return verifyJwtSvid({ token, audience, bundles: source.trust()?.bundles ?? new Map(), nowMs: clock.now() });
  }

  function changeOfTrust(atMostMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        unsubscribe();
        cancel();
        resolve();
      };
      const unsubscribe = source.onChange((what) => what === "trust" && done());
      const cancel = clock.after(atMostMs, done);
    });
  }

  /** A key that left the bundle was tainted, or retired: whoever gets the token would refuse it. */
  function isGood({ token, spiffeId, expiresAtMs }: Kept, audience: readonly string[], identity: Identity): boolean {
    if (spiffeId !== identity.id.uri || clock.now() >= expiresAtMs - spareMs) return false;
    try {
      check(token, audience[0] ?? "");
      return true;
    } catch (error) {
      if (error instanceof PkiError) return false;
      throw error;
    }
  }

  return {
    async fetch(audience, identity) {
      const key = JSON.stringify(audience);
      const found = kept.get(key);
      const held = found !== undefined && isGood(found, audience, identity) ? found : undefined;
      if (held !== undefined) {
        kept.delete(key);
        kept.set(key, held);
        // Nobody waits for the next one as long as this one is good.
        if (clock.now() >= held.renewAtMs && underWay.size < maxUnderWay) void renew(key, audience, identity, held);
        return held.token;
      }
      let asking = underWay.get(key);
      if (asking === undefined) {
        if (underWay.size >= maxUnderWay) throw new CaError("ca_unavailable", `${maxUnderWay} tokens are being asked for; try again`);
        asking = ask(key, audience, identity);
        underWay.set(key, asking);
        void asking.catch(() => undefined).finally(() => underWay.delete(key));
      }
      return (await asking).token;
    },
  };
}

interface Kept {
  readonly token: string;
  readonly spiffeId: string;
  readonly expiresAtMs: number;
  readonly renewAtMs: number;
}

/** Audiences that an app names, one after another: about a megabyte of tokens. */
const maxKept = 1000;
const maxUnderWay = 64;
/** The CA's stream tells of a new bundle within a second. */
const keyWaitMs = 5000;
const retryMs = 5000;
/** Whoever gets it has to send it before it ends. */
const spareMs = 10_000;
