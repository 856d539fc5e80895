import { chmodSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Revocation } from "../../../ca/contract/revocations.ts";
import { encodeBootstrap } from "../../../ca/pki/bootstrap.ts";
import { encodeBundle } from "../../../ca/pki/bundle.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { ConfigError } from "../../../ca/settings/errors.ts";
import { systemClock, type Clock } from "../../../proxy/clock.ts";
import { readConfig } from "../../../proxy/config/config.ts";
import { identityPage } from "../../../proxy/identity-page.ts";
import { KeystoreError } from "../../../proxy/identity/keystore.ts";
import { identityHolder } from "../../../proxy/identity/source.ts";
import { startIdentity } from "../../../proxy/identity/start.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { fakeCa, problem, type FakeCa } from "../../support/fake-ca.ts";
import { changed } from "../../support/identity-changes.ts";
import { recordedLog } from "../../support/recorded-log.ts";
import { testAuthority, type TestAuthority } from "../../support/test-ca.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const hourMs = 3_600_000;

/** The machine's time, except that waits of a retry or a poll take a hundredth. */
const hurried: Clock = { now: Date.now, after: (delayMs, run) => systemClock.after(delayMs / 100, run) };

async function startCa(): Promise<FakeCa> {
  const ca = await fakeCa();
  closing.push(() => ca.stop());
  return ca;
}

function start(ca: FakeCa | undefined, args: readonly string[] = [], clock: Clock = hurried) {
  const holder = identityHolder(clock.now);
  const log = recordedLog();
  const metrics = createMetrics();
  const env = ca === undefined ? {} : { COUNTERSIGN_BOOTSTRAP: encodeBootstrap(ca.bootstrap) };
  const keeper = startIdentity({ config: readConfig({ args, env }), holder, clock, random: () => 0.5, log, metrics });
  closing.push(() => keeper.stop());
  return { holder, log, metrics, keeper };
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "countersign-identity-"));
  closing.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const revocation = (serialNumber: string, sequence = 1): Revocation => (
  { sequence, serialNumber, reason: "keyCompromise", revokedAt: "2026-01-01T00:00:00Z", notAfter: "2046-01-01T00:00:00Z" }
);
const noRevocations = ({ path }: { readonly path: string }) => (path === "/v1/revocations" ? problem("store_busy") : undefined);

describe("the identity half over a real connection", () => {
  test("gets a certificate, trust and revocations, and shows no secret", async () => {
    const ca = await startCa();
    ca.core.revocations.push(revocation("0a"));
    const { holder, keeper, log, metrics } = start(ca);
    expect(keeper.unready()).toMatch(/^no certificate yet/);
    await changed(holder, () => holder.identity() !== undefined && holder.trust()?.revoked.has("0a") === true && holder.policy() !== undefined);
    expect(keeper.unready()).toBeUndefined();
    expect(holder.trust()).toMatchObject({ trustDomain: "east" });
    expect([...holder.trust()!.bundles.keys()]).toEqual(["east"]);
    expect(metrics.text()).toMatch(/identity_cert_expiration_timestamp_seconds \d{10}/);
    expect(metrics.text()).toContain("revocations_held 1");
    const shown = `${log.text()} ${metrics.text()} ${JSON.stringify(keeper.status(), (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value))}`;
    expect(shown).not.toContain(ca.core.token);
    expect(shown).not.toContain("PRIVATE KEY");
  });

  test("trust is there before the identity is: the data path never has one without the other", async () => {
    const ca = await startCa();
    const { holder } = start(ca);
    let trustFirst = false;
    holder.onChange((what) => {
      if (what === "identity" && holder.identity() !== undefined) trustFirst = holder.trust() !== undefined;
    });
    await changed(holder, () => holder.identity() !== undefined);
    expect(trustFirst).toBe(true);
  });

  test("waits for a CA that is not up yet", async () => {
    const ca = await startCa();
    await ca.stop();
    const { holder, keeper, log } = start(ca);
    await new Promise<void>((resolve) => {
      const look = setInterval(() => {
        if (log.lines.length < 3) return;
        clearInterval(look);
        resolve();
      }, 5);
    });
    expect(keeper.unready()).toContain("cannot reach the CA");
    await ca.start();
    await changed(holder, () => holder.identity() !== undefined && holder.policy() !== undefined);
    expect(keeper.unready()).toBeUndefined();
  });

  test("is not ready when its own certificate is revoked", async () => {
    const ca = await startCa();
    const { holder, keeper } = start(ca, ["--revocation-poll", "1s"]);
    await changed(holder, () => holder.identity() !== undefined);
    const { serialNumber } = holder.identity()!;
    ca.core.revocations.push(revocation(serialNumber));
    await changed(holder, () => holder.trust()!.revoked.size > 0 && holder.policy() !== undefined);
    expect(keeper.unready()).toContain("revoked");
  });

  test("asks for another certificate at once when the authority that its own is from is revoked", async () => {
    const ca = await startCa();
    const { holder } = start(ca, ["--revocation-poll", "1s"]);
    await changed(holder, () => holder.identity() !== undefined);
    const { serialNumber, chain } = holder.identity()!;
    ca.core.issuer = ca.core.root.issuer();
    ca.core.revocations.push(revocation(parseCertificate(chain[1]!).serialNumber));
    await changed(holder, () => holder.identity()?.serialNumber !== serialNumber);
  });

  test("starts with a list in which the authority that its own certificate is from is revoked, and asks for another", async () => {
    const ca = await startCa();
    const dir = join(temporaryFolder(), "state");
    const first = start(ca, ["--state-dir", dir, "--revocation-poll", "1s"]);
    await changed(first.holder, () => first.holder.identity() !== undefined && first.holder.trust() !== undefined);
    const { serialNumber, chain } = first.holder.identity()!;
    ca.core.intercept = ({ path }) => (path === "/v1/certificates" ? problem("store_busy") : undefined);
    ca.core.revocations.push(revocation(parseCertificate(chain[1]!).serialNumber));
    await changed(first.holder, () => first.holder.trust()!.revoked.size > 0);
    first.keeper.stop();
    ca.core.intercept = () => undefined;
    ca.core.issuer = ca.core.root.issuer();
    const { holder } = start(undefined, ["--state-dir", dir]);
    await changed(holder, () => holder.identity()?.serialNumber !== undefined && holder.identity()?.serialNumber !== serialNumber);
  });

  test("of a workload that its platform vouches for is attested anew when it is revoked, and not resumed under another attestor", async () => {
    const ca = await startCa();
    const folder = temporaryFolder();
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, "a.pod.token\n");
    const args = (attestor: string): string[] => [
      "--attest", "kubernetes", "--attestor", attestor, "--token-file", tokenFile, "--ca", ca.url, "--trust-domain", "east", "--root", ca.bootstrap.rootFingerprint,
      "--state-dir", join(folder, "state"), "--revocation-poll", "1s",
    ];
    const { holder, keeper } = start(undefined, args("west"));
    await changed(holder, () => holder.identity() !== undefined && holder.trust() !== undefined);
    const { serialNumber } = holder.identity()!;
    ca.core.intercept = ({ path, body }) => (path === "/v1/certificates" && body.includes('"svid"') ? problem("certificate_revoked") : undefined);
    ca.core.revocations.push(revocation(serialNumber));
    await changed(holder, () => holder.identity()?.serialNumber !== serialNumber);
    expect(ca.core.issued.map(({ attestation }) => attestation)).toEqual(["kubernetes", "kubernetes"]);
    keeper.stop();
    expect(start(undefined, args("west")).holder.identity()).toBeDefined();
    expect(start(undefined, args("north")).holder.identity()).toBeUndefined();
  });

  test("an expired identity is gone and its reason named; when the CA is back it is the same workload again", async () => {
    const ca = await startCa();
    let aheadMs = 0;
    const clock: Clock = { now: () => Date.now() + aheadMs, after: (delayMs, run) => systemClock.after(delayMs / 1000, run) };
    const { holder, keeper } = start(ca, [], clock);
    await changed(holder, () => holder.identity() !== undefined);
    const uri = holder.identity()?.id.uri;
    await ca.stop();
    aheadMs = 25 * 3_600_000;
    await changed(holder, () => holder.identity() === undefined);
    expect(keeper.unready()).toMatch(/expired at .*/);
    ca.core.lifetimeMs = 50 * 3_600_000;
    await ca.start();
    await changed(holder, () => holder.identity() !== undefined);
    expect(holder.identity()?.id.uri).toBe(uri);
    expect(ca.core.issued.at(-1)).toMatchObject({ attestation: "join-token", hasProof: true });
    expect(ca.connections.some(({ clientCertificate }) => clientCertificate)).toBe(false);
  });
});

describe("what is revoked", () => {
  test("has to be known before a peer can be judged: with a certificate alone it is not ready and has no trust", async () => {
    const ca = await startCa();
    ca.core.intercept = noRevocations;
    const { holder, keeper, log } = start(ca);
    await vi.waitUntil(() => keeper.status().revocation?.lastError !== undefined, { timeout: 20_000 });
    expect(keeper.status().last).toBeDefined();
    expect([holder.identity(), holder.trust()]).toEqual([undefined, undefined]);
    expect(keeper.unready()).toMatch(/revoked certificates is not known in full.*store_busy/);
    expect(log.text()).toContain("every peer is refused");
    ca.core.intercept = () => undefined;
    await changed(holder, () => holder.identity() !== undefined && holder.policy() !== undefined);
    expect(holder.trust()?.revoked).toEqual(new Set());
    expect(keeper.unready()).toBeUndefined();
  });

  test("before a restart is revoked after it, at once and without the CA, and its age is shown", async () => {
    const ca = await startCa();
    ca.core.revocations.push(revocation("0a"));
    const dir = join(temporaryFolder(), "state");
    const first = start(ca, ["--state-dir", dir]);
    await changed(first.holder, () => first.holder.trust()?.revoked.has("0a") === true && first.holder.policy() !== undefined);
    first.keeper.stop();
    await ca.stop();
    const later: Clock = { now: () => Date.now() + hourMs, after: hurried.after };
    const { holder, keeper, metrics } = start(undefined, ["--state-dir", dir], later);
    expect(holder.trust()?.revoked).toEqual(new Set(["0a"]));
    expect(holder.identity()).toBeDefined();
    expect(keeper.unready()).toBeUndefined();
    const { revocations } = identityPage(holder, keeper.status());
    expect(revocations).toMatchObject({ held: 1, sequence: 1 });
    expect(revocations?.ageSeconds).toBeGreaterThanOrEqual(3600);
    expect(metrics.text()).toMatch(/revocation_poll_lag_seconds 36\d\d/);
  });

  test("is not known after a restart whose list is another CA's, unreadable or lost: no peer until the CA has told", async () => {
    const ca = await startCa();
    const dir = join(temporaryFolder(), "state");
    const first = start(ca, ["--state-dir", dir]);
    await changed(first.holder, () => first.holder.identity() !== undefined);
    first.keeper.stop();
    await ca.stop();
    const path = join(dir, "revocations.json");
    const stored = JSON.parse(readFileSync(path, "utf8")) as object;
    const ofAnotherCa = JSON.stringify({ ...stored, bootstrapHash: "00" });
    for (const damage of [() => writeFileSync(path, ofAnotherCa), () => rmSync(path), () => writeFileSync(path, "{", { mode: 0o600 })]) {
      damage();
      const { holder, keeper } = start(undefined, ["--state-dir", dir]);
      await vi.waitUntil(() => keeper.status().revocation?.lastError !== undefined, { timeout: 20_000 });
      expect([holder.identity(), holder.trust()]).toEqual([undefined, undefined]);
      expect(keeper.unready()).toMatch(/not known in full.*cannot reach the CA/);
      keeper.stop();
    }
    await ca.start();
    const { holder, log } = start(undefined, ["--state-dir", dir]);
    expect(log.lines).toContainEqual(expect.objectContaining({ level: "error", message: expect.stringContaining("stored list of revocations") as string }));
    await changed(holder, () => holder.identity() !== undefined);
  });
});

describe("trust that changes", () => {
  test("a new bundle is in force at the refresh hint, and what our own chain no longer verifies by is replaced at once", async () => {
    const ca = await startCa();
    ca.core.refreshHintSeconds = 5;
    const { holder } = start(ca);
    await changed(holder, () => holder.identity() !== undefined);
    const before = holder.identity()!.serialNumber;
    const old = ca.core.root.bundle();
    const next = testAuthority({ trustDomain: "east" });
    const publish = (sequence: bigint, ...roots: readonly TestAuthority[]): void => {
      ca.core.bundleText = () => encodeBundle({
        ...old, x509Authorities: roots.flatMap((root) => root.bundle().x509Authorities), refreshHintSeconds: 5, sequence,
      });
      ca.core.sequence = sequence;
    };
    publish(2n, ca.core.root, next);
    await changed(holder, () => holder.trust()?.bundles.get("east")?.sequence === 2n);
    expect(holder.identity()?.serialNumber).toBe(before);
    expect(holder.trust()?.bundles.get("east")?.x509Authorities).toHaveLength(2);

    ca.present(next.issuer());
    ca.core.issuer = next.issuer();
    publish(3n, next);
    await changed(holder, () => holder.identity()?.serialNumber !== before);
    expect(holder.trust()?.bundles.get("east")?.sequence).toBe(3n);
    expect(ca.core.issued.at(-1)).toMatchObject({ attestation: "svid" });
  });

  test("a bundle that is broken, empty or older leaves the last good one and is reported", async () => {
    const ca = await startCa();
    ca.core.refreshHintSeconds = 5;
    ca.core.sequence = 7n;
    const { holder, keeper } = start(ca);
    await changed(holder, () => holder.identity() !== undefined);
    const good = holder.trust()?.bundles.get("east");
    for (const bad of ["{", encodeBundle({ trustDomain: "east", x509Authorities: [], jwtAuthorities: [], sequence: 8n }), encodeBundle({ ...ca.core.root.bundle(), sequence: 6n })]) {
      const asked = ca.core.requests.length;
      ca.core.bundleText = () => bad;
      ca.core.sequence += 1n;
      await new Promise<void>((resolve) => {
        const look = setInterval(() => {
          if (!ca.core.requests.slice(asked).some(({ path }) => path === "/v1/bundle") || keeper.status().bundle?.lastError === undefined) return;
          clearInterval(look);
          resolve();
        }, 5);
      });
      expect(holder.trust()?.bundles.get("east")).toBe(good);
    }
  });

  test("a foreign bundle comes from its file, never from the wrong name, and our own cannot be replaced by one", async () => {
    const ca = await startCa();
    ca.core.refreshHintSeconds = 5;
    const folder = temporaryFolder();
    const west = testAuthority({ trustDomain: "west" });
    writeFileSync(join(folder, "west"), encodeBundle({ ...west.bundle(), sequence: 1n }));
    const { holder, log } = start(ca, ["--foreign-bundle", `west=${join(folder, "west")}`, "--foreign-bundle", `south=${join(folder, "missing")}`]);
    await changed(holder, () => holder.identity() !== undefined);
    expect([...holder.trust()!.bundles.keys()].sort()).toEqual(["east", "west"]);
    expect(log.lines.filter(({ level }) => level === "error")).toMatchObject([{ fields: { trustDomain: "south", error: "ENOENT" } }]);
    writeFileSync(join(folder, "west"), encodeBundle({ ...testAuthority({ trustDomain: "west" }).bundle(), sequence: 2n }));
    await changed(holder, () => holder.trust()?.bundles.get("west")?.sequence === 2n);
    expect(() => start(ca, ["--foreign-bundle", `east=${join(folder, "west")}`])).toThrow(ConfigError);
  });
});

describe("a state directory", () => {
  test("lets a restart go on without the token, and keeps key and files for us alone", async () => {
    const ca = await startCa();
    const dir = join(temporaryFolder(), "state");
    const first = start(ca, ["--state-dir", dir]);
    await changed(first.holder, () => first.holder.identity() !== undefined);
    first.keeper.stop();
    expect(statSync(join(dir, "identity.json")).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(dir, "identity.json"), "utf8")).not.toContain(ca.core.token);

    const second = start(undefined, ["--state-dir", dir]);
    expect(second.holder.identity()?.serialNumber).toBe(first.holder.identity()?.serialNumber);
    expect(ca.core.issued).toHaveLength(1);
    second.keeper.stop();
    const third = start(ca, ["--state-dir", dir]);
    expect(third.holder.identity()?.serialNumber).toBe(first.holder.identity()?.serialNumber);
    expect(ca.core.issued).toHaveLength(1);
  });

  test("lets a proxy that died before the answer came ask for the same certificate again", async () => {
    const ca = await startCa();
    ca.loses = (path) => path === "/v1/certificates";
    const dir = join(temporaryFolder(), "state");
    const first = start(ca, ["--state-dir", dir]);
    await new Promise<void>((resolve) => {
      const look = setInterval(() => {
        if (ca.core.issued.length === 0) return;
        clearInterval(look);
        resolve();
      }, 5);
    });
    first.keeper.stop();
    expect(readFileSync(join(dir, "request.json"), "utf8")).not.toContain(ca.core.token);
    const elsewhere = join(temporaryFolder(), "state");
    cpSync(dir, elsewhere, { recursive: true });
    chmodSync(elsewhere, 0o700);
    ca.loses = () => false;
    const second = start(ca, ["--state-dir", dir]);
    await changed(second.holder, () => second.holder.identity() !== undefined);
    expect(second.holder.identity()?.serialNumber).toBe(ca.core.issued[0]?.serialNumber);
    expect(ca.core.issued).toHaveLength(1);
    expect(readdirSync(dir)).not.toContain("request.json");

    const other = await startCa();
    const third = start(other, ["--state-dir", elsewhere]);
    await changed(third.holder, () => third.holder.identity() !== undefined);
    expect(other.core.issued[0]?.spki).not.toBe(ca.core.issued[0]?.spki);
  });

  test("another bootstrap string means another beginning", async () => {
    const [one, other] = [await startCa(), await startCa()];
    const dir = join(temporaryFolder(), "state");
    one.core.revocations.push(revocation("0a"));
    const first = start(one, ["--state-dir", dir]);
    await changed(first.holder, () => first.holder.identity() !== undefined);
    first.keeper.stop();
    const second = start(other, ["--state-dir", dir]);
    expect(second.holder.identity()).toBeUndefined();
    await changed(second.holder, () => second.holder.identity() !== undefined);
    expect(other.core.issued).toHaveLength(1);
    expect(second.holder.trust()?.revoked).toEqual(new Set());
  });

  test("with an expired identity is good for its proof: the restart attests anew by token and key", async () => {
    const ca = await startCa();
    ca.core.intercept = ({ path, body }) => (path === "/v1/certificates" && body.includes('"svid"') ? problem("certificate_expired") : undefined);
    const dir = join(temporaryFolder(), "state");
    const first = start(ca, ["--state-dir", dir]);
    await changed(first.holder, () => first.holder.identity() !== undefined);
    first.keeper.stop();
    ca.core.lifetimeMs = 72 * 3_600_000;
    const later: Clock = { now: () => Date.now() + 48 * 3_600_000, after: (delayMs, run) => systemClock.after(delayMs / 1000, run) };
    const second = start(ca, ["--state-dir", dir], later);
    expect(second.holder.identity()).toBeUndefined();
    await changed(second.holder, () => second.holder.identity() !== undefined);
    expect(ca.core.issued.at(-1)).toMatchObject({ attestation: "join-token", hasProof: true });
  });

  test("whose key is not the certificate's, or whose certificate its bundle does not vouch for, is refused", async () => {
    const ca = await startCa();
    const dir = join(temporaryFolder(), "state");
    const first = start(ca, ["--state-dir", dir]);
    await changed(first.holder, () => first.holder.identity() !== undefined);
    first.keeper.stop();
    const path = join(dir, "identity.json");
    const stored = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    const other = testAuthority({ trustDomain: "east" });
    for (const fault of [
      { privateKeyPem: other.leaf().privateKeyPem }, { bundles: { east: encodeBundle(other.bundle()) } }, { chainPem: "" }, { privateKeyPem: "x" },
      { trustDomain: "west" },
    ]) {
      writeFileSync(path, JSON.stringify({ ...stored, ...fault }));
      expect(() => start(ca, ["--state-dir", dir])).toThrow(KeystoreError);
    }
  });

  test("that holds nothing, without a bootstrap string, is said to need one", () => {
    expect(() => start(undefined, ["--state-dir", join(temporaryFolder(), "state")])).toThrow(/holds no identity yet/);
  });
});
