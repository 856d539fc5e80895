import type { KeyObject } from "node:crypto";
import type { Service } from "../../ca/contract/services.ts";
import type { Bundle } from "../../ca/pki/bundle.ts";
import type { SpiffeId } from "../../ca/pki/spiffe-id.ts";
import type { InboundPolicy } from "../../ca/policy/decide.ts";

/** Who this proxy is. Frozen: a renewal makes another one. */
export interface Identity {
  readonly id: SpiffeId;
  /** DER, leaf first, without the root. */
  readonly chain: readonly Uint8Array[];
  readonly chainPem: string;
  readonly privateKey: KeyObject;
  /** Of the leaf, lower-case hex. */
  readonly serialNumber: string;
  readonly notBeforeMs: number;
  /** The last second of validity begins here (RFC 5280 4.1.2.5). */
  readonly notAfterMs: number;
}

/** Whom this proxy trusts. Frozen: every change makes another one with a higher `version`. */
export interface Trust {
  /** The own one. */
  readonly trustDomain: string;
  /** Trust domain -> its bundle, never pooled (DESIGN 2, promise 1). */
  readonly bundles: ReadonlyMap<string, Bundle>;
  /** Serial numbers of revoked certificates, lower-case hex. */
  readonly revoked: ReadonlySet<string>;
  readonly version: number;
}

/** Who may call this workload, and who answers to a name. Frozen: every change makes another one. */
export interface PolicyInForce {
  readonly sequence: number;
  readonly inbound: InboundPolicy;
  readonly services: readonly Service[];
}

/** What the data path may be told of. */
export type Change = "identity" | "trust" | "policy";

/** The seam between identity and data path. What it returns is consistent in itself and stays so. */
export interface IdentitySource {
  /** Undefined before the first certificate and after expiry: then nothing may be accepted or sent. */
  identity(): Identity | undefined;
  /** Undefined while there is no bundle, or while it is not known what is revoked: then no peer can be judged. */
  trust(): Trust | undefined;
  /** Undefined while the CA has never told who may call whom, here or before a restart: then nobody may be let in. */
  policy(): PolicyInForce | undefined;
  /** Calls `listener` after each swap, synchronously; expiry counts as one. @returns ends the subscription */
  onChange(listener: (what: Change) => void): () => void;
}

/** The writing side; each call is one atomic swap. */
export interface IdentityHolder extends IdentitySource {
  /** Undefined drops the identity, as at expiry. */
  setIdentity(identity: Identity | undefined): void;
  /** Replaces all bundles. */
  setBundles(trustDomain: string, bundles: ReadonlyMap<string, Bundle>): void;
  /** Replaces the revoked serial numbers; the same set again is no change. Undefined: not known any more. */
  setRevoked(serialNumbers: ReadonlySet<string> | undefined): void;
  setPolicy(policy: PolicyInForce): void;
}

/** Makes an empty holder; `now` in milliseconds since the epoch decides about expiry. */
export function identityHolder(now: () => number): IdentityHolder {
  let identity: Identity | undefined;
  let own: { readonly trustDomain: string; readonly bundles: ReadonlyMap<string, Bundle> } | undefined;
  let revoked: ReadonlySet<string> | undefined;
  let trust: Trust | undefined;
  let policy: PolicyInForce | undefined;
  let version = 0;
  const listeners = new Set<(what: Change) => void>();

  function changed(what: Change): void {
    if (what === "trust") trust = own && revoked && Object.freeze({ ...own, revoked, version: ++version });
    for (const listener of [...listeners]) listener(what);
  }

  return {
    identity: () => (identity !== undefined && !isExpired(identity, now()) ? identity : undefined),
    trust: () => trust,
    policy: () => policy,
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    setIdentity(next) {
      if (next === identity) return;
      identity = next;
      changed("identity");
    },
    setBundles(trustDomain, bundles) {
      own = { trustDomain, bundles: new Map(bundles) };
      changed("trust");
    },
    setRevoked(serialNumbers) {
      if (serialNumbers === revoked || (serialNumbers && revoked && sameSet(serialNumbers, revoked))) return;
      revoked = serialNumbers && new Set(serialNumbers);
      changed("trust");
    },
    setPolicy(next) {
      policy = Object.freeze(next);
      changed("policy");
    },
  };
}

/** True from the first millisecond behind the last second of validity. */
export function isExpired({ notAfterMs }: Pick<Identity, "notAfterMs">, nowMs: number): boolean {
  return nowMs >= notAfterMs + lastSecondMs;
}

function sameSet(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && one.isSupersetOf(other);
}

/** RFC 5280 4.1.2.5: notAfter is inclusive, and a certificate's clock has whole seconds. */
const lastSecondMs = 1000;
