import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Store } from "../store/store.ts";
import { AcmeError } from "./error.ts";
import type { AcmeRecords } from "./records.ts";

export interface Nonces {
  make(): Promise<string>;
  /** Each is good once, at all replicas together. @throws {AcmeError} badNonce */
  spend(nonce: string): Promise<void>;
}

/** Nonces that need no row until they are used: when they were made, and our mark on that. */
export function nonceMaker(store: Pick<Store, "spendRequest">, records: AcmeRecords, now: () => Date): Nonces {
  let key: Promise<Buffer> | undefined;

  async function obtainKey(): Promise<Buffer> {
    await records.add("secret", "nonces", { key: randomBytes(32).toString("base64url") }, now().getTime() + tenYearsMs);
    const kept = await records.read("secret", "nonces");
    return Buffer.from(kept?.value.key ?? "", "base64url");
  }

  async function markOf(text: string): Promise<Buffer> {
    key ??= obtainKey().catch((error: unknown) => {
      key = undefined;
      throw error;
    });
    return createHmac("sha256", await key).update(text).digest().subarray(0, markBytes);
  }

  return {
    async make() {
      const body = Buffer.concat([Buffer.from(now().getTime().toString(16).padStart(12, "0"), "hex"), randomBytes(12)]);
      return Buffer.concat([body, await markOf(body.toString("hex"))]).toString("base64url");
    },
    async spend(nonce) {
      const bytes = Buffer.from(nonce, "base64url");
      const body = bytes.subarray(0, 18);
      const mark = bytes.subarray(18);
      const untilMs = Number.parseInt(body.subarray(0, 6).toString("hex"), 16) + lifetimeMs;
      const ours = bytes.toString("base64url") === nonce && mark.length === markBytes && timingSafeEqual(mark, await markOf(body.toString("hex")));
      if (ours && now().getTime() < untilMs && (await store.spendRequest({ spiffeId: "acme", nonce, untilMs }, now().getTime()))) return;
      throw new AcmeError("badNonce", "The nonce is not of this CA, too old, or was used before; use the one that comes with this answer.");
    },
  };
}

const lifetimeMs = 3_600_000;
const markBytes = 16;
const tenYearsMs = 3650 * 86_400_000;
