import { generateKeyPairSync } from "node:crypto";
import type { AuthorityKeeper } from "../authority/keeper.ts";
import type { CaConfig } from "../config/config.ts";
import type { Log } from "../log.ts";
import { parseIpAddress } from "../pki/ip-address.ts";
import { spiffeId } from "../pki/spiffe-id.ts";
import type { CertificateIssuer } from "./issue.ts";
import { apiSegments } from "./names.ts";

/** What the API's TLS listener presents. */
export interface ApiCredentials {
  /** PEM, PKCS#8. */
  readonly key: string;
  /** PEM: certificate, issuer. */
  readonly chain: string;
  readonly notAfterMs: number;
}

export interface ApiCertificate {
  current(): ApiCredentials;
  /** Called with each new pair; the old one stays valid for a while. */
  onChange(listener: (credentials: ApiCredentials) => void): void;
  /** Renews if it is due. The timer calls it; tests may. */
  tick(): Promise<void>;
  start(): void;
  close(): void;
}

export interface ApiCertificateDeps {
  readonly issuer: CertificateIssuer;
  readonly keeper: AuthorityKeeper;
  readonly config: Pick<CaConfig, "trustDomain" | "apiDnsNames" | "apiIpAddresses">;
  readonly log: Log;
  readonly now: () => Date;
}

/**
 * The API's own certificate, `spiffe://<trust domain>/countersign/ca`: issued, logged and stored like any other, with a new
 * key each time, at 50-70 % of its life and whenever the issuer changes.
 */
export async function apiCertificate({ issuer, keeper, config, log, now }: ApiCertificateDeps): Promise<ApiCertificate> {
  const listeners: ((credentials: ApiCredentials) => void)[] = [];
  const identity = {
    spiffeId: spiffeId(config.trustDomain, ...apiSegments),
    dnsNames: config.apiDnsNames,
    ...(config.apiIpAddresses.length > 0 && { ipAddresses: config.apiIpAddresses.map(parseIpAddress) }),
    method: "system",
    actor: "system",
  } as const;
  let held = await obtain();
  let renewing: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  async function obtain(): Promise<{ readonly credentials: ApiCredentials; readonly renewAtMs: number; readonly issuerId: string | undefined }> {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const nowMs = now().getTime();
    const issuerId = keeper.current().issuer?.id;
    const { chain, notAfter } = await issuer.issueTo(identity, publicKey.export({ format: "der", type: "spki" }));
    const notAfterMs = Date.parse(notAfter);
    const key = privateKey.export({ format: "pem", type: "pkcs8" }).toString();
    const part = renewFrom + (renewUntil - renewFrom) * Math.random();
    return { credentials: { key, chain, notAfterMs }, renewAtMs: nowMs + (notAfterMs - nowMs) * part, issuerId };
  }

  function tick(): Promise<void> {
    if (now().getTime() < held.renewAtMs && held.issuerId === keeper.current().issuer?.id) return Promise.resolve();
    renewing ??= (async () => {
      try {
        held = await obtain();
        for (const listener of listeners) listener(held.credentials);
      } catch (err) {
        log.error({ err, notAfter: new Date(held.credentials.notAfterMs).toISOString() }, "the API's certificate could not be renewed; the old one stays in use");
      } finally {
        renewing = undefined;
      }
    })();
    return renewing;
  }

  function schedule(): void {
    if (closed) return;
    // The clock is looked at again and again: one long timer would sleep through a suspended machine and a corrected clock.
    const delayMs = Math.min(checkIntervalMs, Math.max(held.renewAtMs - now().getTime(), retryMs));
    timer = setTimeout(() => void tick().finally(schedule), delayMs).unref();
  }

  keeper.onChange(() => void tick());
  return {
    current: () => held.credentials,
    onChange: (listener) => void listeners.push(listener),
    tick,
    start: schedule,
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** Where TLS ends before it comes to this process: there is no certificate, and asking for it is a mistake. */
export function noApiCertificate(): ApiCertificate {
  return {
    current() {
      throw new Error("this CA has no TLS listener, so no certificate for one");
    },
    onChange: () => undefined,
    tick: () => Promise.resolve(),
    start: () => undefined,
    close: () => undefined,
  };
}

/** Where there is no listener either, and this CA speaks for itself only now and then: issued when it is asked for. */
export function apiCredentialsOnDemand(deps: ApiCertificateDeps): () => Promise<ApiCredentials> {
  let made: Promise<ApiCertificate> | undefined;
  return async () => {
    made ??= apiCertificate(deps).catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    const certificate = await made;
    await certificate.tick();
    return certificate.current();
  };
}

const renewFrom = 0.5;
const renewUntil = 0.7;
const checkIntervalMs = 15_000;
/** Pause before a failed renewal is tried again. */
const retryMs = 1000;
