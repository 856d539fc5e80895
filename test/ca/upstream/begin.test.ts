import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeUpstream, parseUpstream, type UpstreamInvitation } from "../../../ca/config/upstream.ts";
import { issue, rowsOf, startParent, type ParentCa } from "../../support/clusters.ts";
import { startTestCa } from "../../support/running-ca.ts";
import { dns, testAuthority } from "../../support/test-ca.ts";

let parent: ParentCa;

describe("a first start", () => {
  beforeAll(async () => {
    parent = await startParent();
  }, 60_000);
  afterAll(() => parent.close());

  const begin = (invitation: string, options: object = {}) => parent.below("new.example", { invitation, ...options });
  const altered = (invitation: string, change: (parts: UpstreamInvitation) => Partial<UpstreamInvitation>) => encodeUpstream({ ...parseUpstream(invitation)!, ...change(parseUpstream(invitation)!) });

  test.each([
    ["with another root's fingerprint sends nothing", () => ({ rootFingerprint: "00".repeat(32) }), "upstream_untrusted", /the secret was not sent/],
    ["with another trust domain for the parent", () => ({ parentTrustDomain: "other.example" }), "upstream_untrusted", /nothing was sent to it/],
    ["with a token that nobody made", ({ token }: UpstreamInvitation) => ({ token: `${token.slice(0, -4)}AAAA` }), "upstream_refused", /token_unknown.*issuer invite/s],
    ["without anybody at the URL", () => ({ url: "https://127.0.0.1:9" }), "upstream_unreachable", /cannot reach 127\.0\.0\.1:9/],
    ["for a trust domain that the invitation is not for", () => ({ trustDomain: "new.example" }), "upstream_refused", /forbidden.*new\.example.*operator list/s],
  ] as const)("%s: %#", async (_what, change, code, message) => {
    const other = await parent.invite("elsewhere.example");
    await expect(begin(altered(other, (parts) => ({ trustDomain: "new.example", ...change(parts) })))).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test("under a CA whose TLS somebody else ends knows it by a certificate of the web, and by the root's fingerprint all the same", async () => {
    const web = testAuthority({ trustDomain: "web.example" });
    const { chainPem: cert, privateKeyPem: key } = web.leaf({ names: [dns("localhost")] });
    const behind = new URL(parent.served.url);
    const front = createServer({ cert, key }, (asked, answer) => {
      asked.pipe(request({ host: behind.hostname, port: behind.port, method: asked.method, path: asked.url, headers: asked.headers, rejectUnauthorized: false }, (answered) => {
        answer.writeHead(answered.statusCode ?? 502, answered.headers);
        answered.pipe(answer);
      }));
    }).listen(0, "localhost");
    await once(front, "listening");
    const folder = mkdtempSync(join(tmpdir(), "countersign-web-"));
    const federationWebRoots = join(folder, "web.pem");
    writeFileSync(federationWebRoots, web.pem);
    try {
      const there = { tls: "web" as const, url: `https://localhost:${(front.address() as AddressInfo).port}` };
      const invitation = altered(await parent.invite("new2.example"), () => there);
      const start = (text: string, settings: Record<string, string> = { federationWebRoots }) => parent.below("new2.example", { invitation: text, settings });
      await expect(start(invitation, {})).rejects.toMatchObject({ code: "upstream_untrusted" });
      await expect(start(altered(invitation, () => ({ rootFingerprint: "00".repeat(32) })))).rejects.toMatchObject({ code: "upstream_untrusted", message: expect.stringContaining("the secret was not sent") });
      const below = await start(invitation);
      expect((await issue(below)).spiffeId).toBe("spiffe://new2.example/web");
      await parent.pass(1000, below);
      expect(await below.ca.vitals()).toMatchObject({ upstream: { failures: 0, succeededAt: expect.any(String) } });
    } finally {
      front.close();
      front.closeAllConnections();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("waits for a CA above that is away no longer than until it is asked to stop", async () => {
    const invitation = altered(await parent.invite("new3.example"), () => ({ url: "https://127.0.0.1:9" }));
    await expect(parent.below("new3.example", { invitation, deps: { patienceMs: 600_000, stopping: Promise.resolve() } })).rejects.toMatchObject({ code: "upstream_unreachable" });
  });

  test("with a string that was taken already is refused, and the one that took it goes on", async () => {
    const invitation = await parent.invite("new.example");
    const taken = await begin(invitation);
    await expect(begin(invitation)).rejects.toMatchObject({ code: "upstream_refused", message: expect.stringMatching(/token_already_redeemed.*issuer invite/s) });
    expect((await issue(taken)).spiffeId).toBe("spiffe://new.example/web");
  });

  test("that did not get its issuer goes on with the identity that it has, and a later start needs the string no more", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "countersign-below-"));
    const invitation = await parent.invite("again.example");
    const again = (more: object = {}) => parent.below("again.example", { invitation, dataDir, ...more });
    try {
      // The right to the issuer comes late: by then the token is spent.
      await parent.served.ca.operators.remove("spiffe://root.example/cluster/again.example", parent.admin);
      await parent.pass(1000);
      await expect(again()).rejects.toMatchObject({ code: "upstream_refused" });
      await parent.invite("again.example");
      await parent.pass(1000);
      const first = await again();
      const [row] = await rowsOf(first, "issuer", "active");
      await first.close();
      const later = await again();
      expect((await rowsOf(later, "issuer", "active"))[0]!.id).toBe(row!.id);
      await later.ca.operateAuthority({ action: "rotate", type: "issuer" }, later.admin);
      await later.close();
      // A revoked identity is good for nothing; a new string is.
      const [identity] = await parent.served.ca.store.certificates({ limit: 1, nowMs: parent.clock.nowMs, spiffeId: "spiffe://root.example/cluster/again.example" });
      await parent.served.ca.revoke(identity!.serialNumber, "unspecified", parent.admin);
      const refused = await again();
      await expect(refused.ca.operateAuthority({ action: "rotate", type: "issuer" }, refused.admin)).rejects.toMatchObject({ code: "issuer_unavailable", message: expect.stringMatching(/certificate_revoked.*issuer invite/s) });
      await refused.close();
      const mended = await again({ invitation: await parent.invite("again.example") });
      await mended.ca.operateAuthority({ action: "rotate", type: "issuer" }, mended.admin);
      await mended.close();
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  });

  test("of a CA that has a root of its own is refused, and so is one without its parent's string", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "countersign-below-"));
    try {
      const below = await parent.below("moved.example", { dataDir });
      await below.close();
      await expect(startTestCa({ dataDir, settings: { trustDomain: "moved.example" } })).rejects.toMatchObject({ code: "root_changed", message: expect.stringContaining("upstreamFile") });
      await expect(startTestCa({ dataDir, settings: {} })).rejects.toMatchObject({ code: "trust_domain_changed", message: expect.stringContaining("upstreamFile") });
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
    const own = mkdtempSync(join(tmpdir(), "countersign-own-"));
    try {
      await (await startTestCa({ dataDir: own, settings: { trustDomain: "own.example" }, nowMs: parent.clock.nowMs })).close();
      await expect(parent.below("own.example", { dataDir: own })).rejects.toMatchObject({ code: "root_changed", message: expect.stringContaining("root of its own") });
    } finally {
      rmSync(own, { recursive: true, force: true });
    }
  });
});
