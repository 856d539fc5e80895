import { randomBytes } from "node:crypto";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openStore } from "../../../ca/store/open.ts";
import type { Act, Receipt } from "../../../ca/store/acts.ts";
import { StoreError } from "../../../ca/store/errors.ts";
import type { CertificateQuery } from "../../../ca/store/rows/certificates.ts";
import type { Store } from "../../../ca/store/store.ts";
import { verifyStore } from "../../support/store-oracle.ts";
import {
  createToken, deleteToken, hourMs, initialize, issue, newAuthority, newCertificate, newCrl, newSealer, newToken, publishCrl, record, revoke, rotateIssuer,
  setAuthorityState, startMs, stateOf,
} from "./acts.ts";

/** A database that a test may open, look into and break. */
export interface TestDatabase {
  readonly url: string;
  /** Runs SQL that both kinds understand, behind the store's back. */
  execute(sql: string): Promise<void>;
  /** From now on each insert into the table fails, or each update, until `repair`. */
  breakTable(table: string, operation: "insert" | "update"): Promise<void>;
  /** Refuses certificates for one SPIFFE ID: a failure that the facts do not foresee. */
  refuseCertificatesFor(spiffeId: string): Promise<void>;
  repair(): Promise<void>;
  dispose(): Promise<void>;
}

/** The guarantees of `store.ts`, each as a test; the whole store is verified again after every one. */
export function describeStore(kind: Store["kind"], newDatabase: () => Promise<TestDatabase>): void {
  describe(`a store on ${kind}`, () => {
    const { sealer, verifierKey } = newSealer();
    let database: TestDatabase;
    let store: Store;
    let opened: Store[];

    async function open(): Promise<Store> {
      const another = await openStore({ url: database.url, sealer });
      opened.push(another);
      return another;
    }

    beforeEach(async () => {
      opened = [];
      database = await newDatabase();
      store = await open();
    });
    afterEach(async () => {
      // A store that cannot even be closed must not leave its files behind.
      const closed = await Promise.allSettled(opened.map((each) => each.close()));
      await database.dispose();
      expect(closed.filter(({ status }) => status === "rejected")).toEqual([]);
    });

    /** A test after which the store must be as promised. */
    function promise(name: string, run: () => Promise<void>): void {
      test(name, async () => {
        await run();
        await verifyStore(store, verifierKey);
      });
    }

    describe("what it keeps", () => {
      promise("nothing is in an empty store", async () => {
        expect(store.kind).toBe(kind);
        expect(await store.state()).toBeUndefined();
        expect(await store.checkpoint()).toBeUndefined();
        expect(await store.authorities()).toEqual([]);
        expect(await store.certificate("00")).toBeUndefined();
        expect(await store.token("none")).toBeUndefined();
        expect(await store.idempotent("scope", "key")).toBeUndefined();
        expect(await store.revocationSequence()).toBe(0);
        await store.ping();
      });

      promise("initialize is read back whole, also by a store opened later", async () => {
        const state = stateOf(verifierKey);
        const authorities = [newAuthority({ type: "root" }), newAuthority({ createdAtMs: startMs + 1 })];
        const admin = newToken({ type: "api", role: "admin", name: "first", scope: ["spiffe://east/*"] });
        await store.commit(initialize(verifierKey, { state, authorities, tokens: [admin] }));
        for (const each of [store, await open()]) {
          expect(plain(await each.state())).toEqual(plain(state));
          expect(plain(await each.authorities())).toEqual(plain(authorities));
          expect(plain(await each.token(admin.id))).toEqual(plain(admin));
        }
      });

      promise("a certificate is read back whole, at the index of its entry", async () => {
        await store.commit(record("first", "second"));
        const certificate = newCertificate({ dnsNames: ["cart.shop", "cart"], tokenId: "token-x", attestor: "east-cluster", attestation: "svid" });
        const bare = newCertificate();
        const renewal = newCertificate({ renewedFrom: bare.serialNumber });
        const { logIndex } = await store.commit(issue(certificate));
        await store.commit(issue(bare));
        await store.commit(issue(renewal));
        expect(logIndex).toBe(2);
        expect(plain(await store.certificate(certificate.serialNumber))).toEqual(plain({ ...certificate, logIndex }));
        expect(plain(await store.certificate(bare.serialNumber))).toEqual(plain({ ...bare, logIndex: 3 }));
        expect(plain(await store.certificate(renewal.serialNumber))).toEqual(plain({ ...renewal, logIndex: 4 }));
        expect((await store.entries({ start: 2, limit: 1 }))[0]!.body).toContain(certificate.serialNumber);
      });

      promise("text that SQL or JSON could misread comes back as it was", async () => {
        const awkward = `'"\\{},NULL;-- \u0000 \u{1f512} ü\n`;
        const certificate = newCertificate({ spiffeId: `spiffe://east/${encodeURIComponent(awkward)}`, dnsNames: ["a,b", "{}", "NULL", "\\x00"] });
        await store.commit(issue(certificate, { idempotency: { scope: "{a,b}", key: "NULL", requestHash: "\\", expiresAtMs: startMs + 1 } }));
        await store.commit(record(awkward));
        expect((await store.certificate(certificate.serialNumber))?.dnsNames).toEqual(certificate.dnsNames);
        expect((await store.idempotent("{a,b}", "NULL"))?.requestHash).toBe("\\");
        expect(JSON.parse((await store.entries({ start: 1, limit: 1 }))[0]!.body)).toMatchObject({ code: awkward });
      });

      promise("certificates are listed newest first, by ID, prefix, status and expiry", async () => {
        const ids = ["spiffe://east/ns/a/sa/x", "spiffe://east/ns/a/sa/y", "spiffe://east/ns/ab/sa/x", "spiffe://east/ns/a", "spiffe://east/ns/A/sa/x"];
        const certificates = ids.map((spiffeId, index) => newCertificate({ spiffeId, notAfterMs: startMs + index * hourMs }));
        for (const certificate of certificates) await store.commit(issue(certificate));
        await store.commit(revoke(certificates[1]!));
        const listed = async (query: Partial<CertificateQuery>) =>
          (await store.certificates({ limit: 10, nowMs: startMs + 2 * hourMs, ...query })).map(({ serialNumber }) => certificates.findIndex((each) => each.serialNumber === serialNumber));
        expect(await listed({})).toEqual([4, 3, 2, 1, 0]);
        expect(await listed({ limit: 2 })).toEqual([4, 3]);
        expect(await listed({ before: 3, limit: 2 })).toEqual([2, 1]);
        expect(await listed({ spiffeId: ids[0]! })).toEqual([0]);
        expect(await listed({ spiffeId: "spiffe://east/ns/a/*" })).toEqual([1, 0]);
        expect(await listed({ spiffeId: "spiffe://east/*" })).toEqual([4, 3, 2, 1, 0]);
        expect(await listed({ spiffeId: "spiffe://east/ns/%/*" })).toEqual([]);
        expect(await listed({ within: [ids[0]!, "spiffe://east/ns/ab/*"] })).toEqual([2, 0]);
        expect(await listed({ within: ["spiffe://east/ns/a/*"], spiffeId: "spiffe://east/*", status: "revoked" })).toEqual([1]);
        expect(await listed({ within: [] })).toEqual([]);
        expect(await listed({ status: "revoked" })).toEqual([1]);
        expect(await listed({ status: "expired" })).toEqual([0]);
        expect(await listed({ status: "valid" })).toEqual([4, 3, 2]);
        expect(await listed({ status: "valid", expiresBeforeMs: startMs + 4 * hourMs })).toEqual([3, 2]);
        const [, , , second] = await store.certificates({ limit: 10, nowMs: startMs });
        expect(second).toMatchObject({ revokedAtMs: startMs + 1, revocationReason: "keyCompromise" });
      });

      promise("certificates far below the newest are listed too, the revoked in the order of their revocation", async () => {
        const ids = ["spiffe://east/ns/a/sa/x", "spiffe://east/ns/a/sa/y", "spiffe://east/ns/b", "spiffe://east/ns/a/sa/x"];
        const certificates = ids.map((spiffeId, index) => newCertificate({ spiffeId, notAfterMs: startMs + index * hourMs }));
        for (const certificate of certificates) await store.commit(issue(certificate));
        for (const index of [3, 1]) await store.commit(revoke(certificates[index]!));
        const others = Array.from({ length: 300 }, (_, index) => newCertificate({ spiffeId: `spiffe://east/ns/c/${index}`, notAfterMs: startMs + 1.5 * hourMs }));
        await Promise.all(others.map((other) => store.commit(issue(other))));
        await Promise.all(others.slice(0, 290).map((other) => store.commit(revoke(other))));
        const listed = async (query: Partial<CertificateQuery>) =>
          (await store.certificates({ limit: 10, nowMs: startMs + 1.5 * hourMs, ...query })).map(({ serialNumber }) => certificates.findIndex((each) => each.serialNumber === serialNumber));
        expect(await listed({ spiffeId: ids[0]!, status: "valid" })).toEqual([]);
        expect(await listed({ spiffeId: ids[0]!, status: "expired" })).toEqual([0]);
        expect(await listed({ spiffeId: "spiffe://east/ns/a/*" })).toEqual([3, 1, 0]);
        expect(await listed({ spiffeId: "spiffe://east/ns/a/*", limit: 2 })).toEqual([3, 1]);
        expect(await listed({ spiffeId: "spiffe://east/ns/a/*", before: 3 })).toEqual([1, 0]);
        expect(await listed({ spiffeId: "spiffe://east/ns/a/*", status: "revoked" })).toEqual([1, 3]);
        expect(await listed({ within: [ids[2]!, ids[0]!, "spiffe://east/ns/d/*"] })).toEqual([3, 2, 0]);
        expect(await listed({ within: ["spiffe://east/ns/a/*", ids[2]!], status: "valid" })).toEqual([2]);
        expect(await listed({ within: [] })).toEqual([]);
        expect(await listed({ within: ["spiffe://east/ns/a/*"], spiffeId: "spiffe://east/ns/*", status: "revoked" })).toEqual([1, 3]);
        expect(await listed({ status: "expired" })).toEqual([0]);
        expect(await listed({ expiresBeforeMs: startMs + 1 })).toEqual([0]);
        expect(await listed({ expiresBeforeMs: startMs + 2 * hourMs, spiffeId: "spiffe://east/ns/a/*" })).toEqual([1, 0]);
        const revoked = await store.certificates({ limit: 1_000, nowMs: startMs, status: "revoked" });
        expect(revoked.map(({ serialNumber }) => serialNumber)).toEqual([...[...others.slice(0, 290)].reverse(), certificates[1]!, certificates[3]!].map(({ serialNumber }) => serialNumber));
        const position = revoked.at(-2)!.revocationSequence!;
        expect(await listed({ status: "revoked", before: position })).toEqual([3]);
      });

      promise("tokens are listed newest first, from a token on, without the deleted", async () => {
        const tokens = [3, 1, 2, 2].map((hours) => newToken({ createdAtMs: startMs + hours * hourMs }));
        for (const token of tokens) await store.commit(createToken(token));
        const [three, one, two, alsoTwo] = tokens.map(({ id }) => id);
        const listed = async (query: { limit: number; before?: string }) => (await store.tokens(query)).map(({ id }) => id);
        expect(await listed({ limit: 9 })).toEqual([three, alsoTwo, two, one]);
        expect(await listed({ limit: 2, before: three! })).toEqual([alsoTwo, two]);
        expect(await listed({ limit: 9, before: alsoTwo! })).toEqual([two, one]);
        const api = newToken({ type: "api", createdAtMs: startMs + 9 * hourMs, role: "admin" });
        const other = newToken({ spiffeId: "spiffe://east/ns/bank/a", createdAtMs: startMs + 8 * hourMs });
        for (const token of [api, other]) await store.commit(createToken(token));
        const within = async (...patterns: string[]) => (await store.tokens({ limit: 9, within: patterns })).map(({ id }) => id);
        expect(await within("spiffe://east/ns/bank/*")).toEqual([other.id]);
        expect(await within("spiffe://east/*")).not.toContain(api.id);
        expect(await within()).toEqual([]);
        for (const { id } of [api, other]) await store.commit(deleteToken(id));
        await store.commit(deleteToken(two!));
        expect(await listed({ limit: 9, before: two! })).toEqual([one]);
        expect(await listed({ limit: 9 })).toEqual([three, alsoTwo, one]);
        expect((await store.token(two!))?.deletedAtMs).toBe(startMs + 5);
        expect(await listed({ limit: 9, before: "none" })).toEqual([]);
      });

      promise("the use of a token is remembered to the hour", async () => {
        const token = newToken({ type: "api" });
        await store.commit(createToken(token));
        await store.touchToken(token.id, startMs);
        await store.touchToken(token.id, startMs + 1_800_000);
        expect((await store.token(token.id))?.lastUsedAtMs).toBe(startMs);
        await store.touchToken(token.id, startMs + 3_600_000);
        expect((await store.token(token.id))?.lastUsedAtMs).toBe(startMs + 3_600_000);
      });

      promise("revocations are fed in the order of the log", async () => {
        const certificates = [newCertificate(), newCertificate(), newCertificate()];
        for (const certificate of certificates) await store.commit(issue(certificate));
        const receipts: Receipt[] = [];
        for (const certificate of certificates) {
          receipts.push(await store.commit(revoke(certificate)));
          await store.commit(record("between"));
        }
        const feed = await store.revocations({ after: 0, limit: 10 });
        expect(feed.map(({ sequence }) => sequence)).toEqual(receipts.map(({ logIndex }) => logIndex + 1));
        expect(feed[1]).toEqual({
          sequence: receipts[1]!.logIndex + 1, serialNumber: certificates[1]!.serialNumber, reason: "keyCompromise", revokedAtMs: startMs + 1,
          notAfterMs: certificates[1]!.notAfterMs, authorityId: certificates[1]!.authorityId,
        });
        expect(await store.revocations({ after: feed[0]!.sequence, limit: 1 })).toEqual([feed[1]]);
        expect(await store.revocationSequence()).toBe(feed[2]!.sequence);
      });

      promise("the newest CRL of each list is kept", async () => {
        const whole = newCrl({ list: "ca.crl", number: 7, crl: randomBytes(300) });
        const second = newCrl({ number: 2, sequence: 3, droppedSequence: 1, droppedBeforeMs: startMs });
        await store.commit(publishCrl(newCrl({ number: 1 }), undefined));
        await store.commit(publishCrl(whole, undefined));
        await store.commit(publishCrl(second, 1));
        expect(await store.crl(second.authorityId, "full.crl")).toEqual(second);
        expect(await store.crl(whole.authorityId, "ca.crl")).toEqual(whole);
        expect(await store.crl(whole.authorityId, "2-0.crl")).toBeUndefined();
        expect((await store.crls()).map(({ list, number }) => [list, number]).sort()).toEqual([["ca.crl", 7], ["full.crl", 2]]);
      });

      promise("keys that are sealed anew: those of the log and of the named authorities, the others stay", async () => {
        await store.commit(initialize(verifierKey, { authorities: [newAuthority({ type: "root" }), newAuthority({ createdAtMs: startMs + 1 })] }));
        const [one, ...others] = await store.authorities();
        const [sealed, sealedLogKey] = [Buffer.from("sealed anew"), Buffer.from("log key anew")];
        await store.commit({ ...record("sealed"), kind: "reseal", logSize: 1, sealedLogKey, wrappedSealingKey: "wrapped", authorities: [{ id: one!.id, sealed }] });
        expect(await store.state()).toMatchObject({ wrappedSealingKey: "wrapped", sealedLogKey });
        expect(await store.authorities()).toEqual([{ ...one!, key: { kind: "sealed", sealed } }, ...others]);
        await store.commit({ ...record("sealed"), kind: "reseal", logSize: 2, sealedLogKey, wrappedSealingKey: "", authorities: [] });
        expect((await store.state())?.wrappedSealingKey).toBeUndefined();
      });

      promise("nothing under a seal that was replaced, and no new seal behind what was written meanwhile", async () => {
        const state = stateOf(verifierKey);
        await store.commit(initialize(verifierKey, { state }));
        const add = (sealing: Uint8Array) => store.commit({ ...rotateIssuer(newAuthority(), undefined), sealing });
        const reseal = (logSize: number) => store.commit({ ...record("sealed"), kind: "reseal", logSize, sealedLogKey: Buffer.from("anew"), wrappedSealingKey: "", authorities: [] });
        await expect(reseal(0)).rejects.toMatchObject({ code: "sealing_superseded" });
        expect((await store.state())?.sealedLogKey).toEqual(Buffer.from(state.sealedLogKey));
        await reseal(1);
        await expect(add(state.sealedLogKey)).rejects.toMatchObject({ code: "sealing_superseded" });
        expect(await store.authorities()).toEqual([]);
        await add(Buffer.from("anew"));
      });

      promise("each entry of an act has its place, and the receipt names the first", async () => {
        const receipts = await Promise.all([record("a"), record("b", "c", "d"), record("e")].map((act) => store.commit(act)));
        expect(receipts).toEqual([{ logIndex: 0 }, { logIndex: 1 }, { logIndex: 4 }]);
        expect((await store.entries({ start: 1, limit: 3 })).map(({ index }) => index)).toEqual([1, 2, 3]);
      });

      promise("a root is kept for each 256 entries", async () => {
        await Promise.all(Array.from({ length: 600 }, (_, index) => store.commit(record(`${index}`))));
        expect(await store.subtreeHashes({ level: 1, start: 0, limit: 9 })).toHaveLength(2);
        expect(await store.subtreeHashes({ level: 1, start: 1, limit: 1 })).toHaveLength(1);
        expect(await store.subtreeHashes({ level: 2, start: 0, limit: 9 })).toEqual([]);
      });
    });

    describe("what it refuses", () => {
      promise("of 20 processes that initialize, one does", async () => {
        const other = await open();
        const results = await outcomes(Array.from({ length: 20 }, (_, index) => [index % 2 ? store : other, initialize(verifierKey)]));
        expect(count(results)).toEqual({ landed: 1, already_initialized: 19 });
      });

      promise("a state that names another log key", async () => {
        expect(await outcome(store, initialize(newSealer().verifierKey))).toBe("log_inconsistent");
        expect(await store.state()).toBeUndefined();
      });

      promise("of 20 CRLs with the next number, one", async () => {
        await store.commit(publishCrl(newCrl(), undefined));
        const other = await open();
        const results = await outcomes(Array.from({ length: 20 }, (_, index) => [index % 2 ? store : other, publishCrl(newCrl({ number: 2 }), 1)]));
        expect(count(results)).toEqual({ landed: 1, crl_superseded: 19 });
        expect((await store.entries({ start: 0, limit: 99 })).filter(({ body }) => body.includes("crl.signed"))).toHaveLength(2);
      });

      promise("of 20 answers to one request to an offline key, one, in one commit with what it does", async () => {
        const ceremony = { id: "c0", request: "{}", sealedPrivateKey: Buffer.from("sealed"), createdAtMs: startMs };
        await store.commit({ ...record("asked"), kind: "request-ceremony", ceremony });
        expect(await store.ceremony("c0")).toEqual(ceremony);
        const other = await open();
        const answers = { ceremonies: ["c0"], closedAtMs: startMs + 1 };
        const results = await outcomes(Array.from({ length: 20 }, (_, index) => [index % 2 ? store : other, { ...createToken(newToken()), answers }]));
        expect(count(results)).toEqual({ landed: 1, ceremony_unknown: 19 });
        expect(await store.tokens({ limit: 99 })).toHaveLength(1);
        expect(await outcome(store, { ...record("never asked"), answers: { ...answers, ceremonies: ["c0", "c1"] } })).toBe("ceremony_unknown");
        expect(await store.ceremonies({ limit: 9 })).toEqual([{ ...ceremony, closedAtMs: startMs + 1 }]);
      });

      promise("of 50 redemptions of one token, one wins", async () => {
        const token = newToken();
        await store.commit(createToken(token));
        const other = await open();
        const redeem = { tokenId: token.id, version: 0 };
        const results = await outcomes(Array.from({ length: 50 }, (_, index) => [index % 2 ? store : other, issue(newCertificate(), { redeem })]));
        expect(count(results)).toEqual({ landed: 1, token_already_redeemed: 49 });
        expect(await store.token(token.id)).toMatchObject({ version: 1, redeemedAtMs: startMs });
        expect(await store.certificates({ limit: 9, nowMs: startMs })).toHaveLength(1);
      });

      promise("each version of a token pays once, also within one group", async () => {
        const token = newToken();
        await store.commit(createToken(token));
        const redeemed = (version: number) => issue(newCertificate(), { redeem: { tokenId: token.id, version } });
        expect(await outcomes([0, 1, 1, 2, 0].map((version) => [store, redeemed(version)])))
          .toEqual(["landed", "landed", "token_already_redeemed", "landed", "token_already_redeemed"]);
        expect((await store.token(token.id))?.version).toBe(3);
      });

      promise("a token that is unknown or deleted pays for nothing", async () => {
        const token = newToken();
        await store.commit(createToken(token));
        await store.commit(deleteToken(token.id));
        expect(await outcome(store, issue(newCertificate(), { redeem: { tokenId: token.id, version: 0 } }))).toBe("token_unknown");
        expect(await outcome(store, issue(newCertificate(), { redeem: { tokenId: "none", version: 0 } }))).toBe("token_unknown");
        expect(await outcome(store, deleteToken(token.id))).toBe("token_unknown");
        expect(await outcome(store, deleteToken("none"))).toBe("token_unknown");
      });

      promise("a revoked certificate is renewed by nobody, also when its revocation and the renewal compete", async () => {
        const [parent, other] = [newCertificate(), newCertificate()];
        for (const certificate of [parent, other]) await store.commit(issue(certificate));
        const renewal = (renewedFrom: string) => issue(newCertificate({ renewedFrom }));
        expect(await outcomes([[store, renewal(parent.serialNumber)], [store, revoke(parent)], [store, renewal(parent.serialNumber)]]))
          .toEqual(["landed", "landed", "certificate_revoked"]);
        expect(await outcomes([[store, renewal(parent.serialNumber)], [await open(), renewal(parent.serialNumber)]]))
          .toEqual(["certificate_revoked", "certificate_revoked"]);
        expect(await outcome(store, renewal(other.serialNumber))).toBe("landed");
        expect(await outcome(store, renewal("00".repeat(16)))).toBe("certificate_unknown");
      });

      promise("a family is revoked in one act, each with an entry, what is under way included", async () => {
        const parent = newCertificate();
        const child = newCertificate({ renewedFrom: parent.serialNumber });
        const over = newCertificate({ renewedFrom: child.serialNumber, notAfterMs: startMs });
        const grandchild = newCertificate({ renewedFrom: over.serialNumber });
        const revoked = newCertificate({ renewedFrom: child.serialNumber });
        const [stranger, elder] = [newCertificate(), newCertificate()];
        for (const each of [elder, parent, child, over, stranger, revoked]) await store.commit(issue(each));
        await store.commit(revoke(revoked));
        const late = newCertificate({ renewedFrom: grandchild.serialNumber });
        expect(await outcomes([
          [store, issue(grandchild)], [store, revoke(parent, startMs + 1, true)], [store, record("between")], [store, issue(late)],
          [store, issue(newCertificate({ renewedFrom: elder.serialNumber }))],
        ])).toEqual(["landed", "landed", "landed", "certificate_revoked", "landed"]);
        const feed = await store.revocations({ after: 7, limit: 9 });
        expect(feed.map(({ serialNumber }) => serialNumber)).toEqual([parent, child, grandchild].map(({ serialNumber }) => serialNumber));
        for (const { sequence, serialNumber } of feed) {
          const [entry] = await store.entries({ start: sequence - 1, limit: 1 });
          expect(JSON.parse(entry!.body)).toMatchObject({ type: "certificate.revoked", actor: "token:admin", serialNumber, reason: "keyCompromise" });
        }
        for (const each of [over, stranger, elder]) expect((await store.certificate(each.serialNumber))?.revokedAtMs).toBeUndefined();
      });

      promise("of 20 requests with one idempotency key, one is answered, and the key leads to its certificate", async () => {
        const other = await open();
        const idempotency = { scope: "token:a", key: "k", requestHash: "h", expiresAtMs: startMs + hourMs };
        const acts = Array.from({ length: 20 }, () => issue(newCertificate(), { idempotency }));
        const results = await outcomes(acts.map((act, index) => [index % 2 ? store : other, act]));
        expect(count(results)).toEqual({ landed: 1, idempotency_conflict: 19 });
        const { serialNumber } = acts[results.indexOf("landed")]!.certificate;
        expect(await store.idempotent("token:a", "k")).toEqual({ requestHash: "h", serialNumber, expiresAtMs: startMs + hourMs });
        expect(await outcome(store, issue(newCertificate(), { idempotency: { ...idempotency, scope: "token:b" } }))).toBe("landed");
      });

      promise("a repeated request learns that it is one, though its token and key are spent too", async () => {
        const token = newToken();
        await store.commit(createToken(token));
        const act = issue(newCertificate(), {
          redeem: { tokenId: token.id, version: 0 }, idempotency: { scope: "s", key: "k", requestHash: "h", expiresAtMs: startMs + hourMs },
        });
        expect(await outcomes([[store, act], [store, act]])).toEqual(["landed", "idempotency_conflict"]);
      });

      promise("an expired idempotency key is free again, and is forgotten", async () => {
        const use = (key: string, issuedAtMs: number) => {
          const certificate = newCertificate({ issuedAtMs });
          return store.commit(issue(certificate, { idempotency: { scope: "s", key, requestHash: certificate.serialNumber, expiresAtMs: issuedAtMs + hourMs } }));
        };
        await use("a", startMs);
        await use("b", startMs);
        await use("a", startMs + hourMs);
        expect((await store.idempotent("s", "a"))?.expiresAtMs).toBe(startMs + 2 * hourMs);
        expect(await store.idempotent("s", "b")).toBeUndefined();
      });

      promise("a public key gets one certificate", async () => {
        const { keyFingerprint } = newCertificate();
        const again = () => issue(newCertificate({ keyFingerprint: Uint8Array.from(keyFingerprint) }));
        expect(await outcomes([[store, again()], [store, again()], [await open(), again()]])).toEqual(
          expect.arrayContaining(["landed", "key_reused", "key_reused"]),
        );
        expect(await outcome(store, again())).toBe("key_reused");
      });

      promise("a certificate is found by its key, with its revocation", async () => {
        const certificate = newCertificate();
        expect(await store.certificateOfKey(certificate.keyFingerprint)).toBeUndefined();
        await store.commit(issue(certificate));
        await store.commit(issue(newCertificate()));
        expect(await store.certificateOfKey(certificate.keyFingerprint)).toMatchObject({ serialNumber: certificate.serialNumber });
        expect((await store.certificateOfKey(certificate.keyFingerprint))?.revokedAtMs).toBeUndefined();
        await store.commit(revoke(certificate));
        expect((await store.certificateOfKey(certificate.keyFingerprint))?.revokedAtMs).toBeDefined();
      });

      promise("a serial number is given once", async () => {
        const { serialNumber } = newCertificate();
        const again = () => issue(newCertificate({ serialNumber }));
        expect(await outcomes([[store, again()], [store, again()]])).toEqual(["landed", "serial_taken"]);
        expect(await outcome(store, again())).toBe("serial_taken");
      });

      promise("a certificate is revoked once, and only if it was issued", async () => {
        const certificate = newCertificate();
        expect(await outcomes([
          [store, revoke(certificate)], [store, issue(certificate)], [store, revoke(certificate)], [store, revoke(certificate)],
        ])).toEqual(["certificate_unknown", "landed", "landed", "already_revoked"]);
        expect(await outcome(store, revoke(certificate))).toBe("already_revoked");
        expect(await store.certificate(certificate.serialNumber)).toMatchObject({ revokedAtMs: startMs + 1, revocationReason: "keyCompromise" });
      });

      promise("of two replicas that rotate the issuer, one does", async () => {
        const [first, second, third] = [newAuthority(), newAuthority({ createdAtMs: startMs + 1 }), newAuthority({ createdAtMs: startMs + 2 })];
        expect(await outcome(store, rotateIssuer(first, undefined))).toBe("landed");
        expect(await outcome(store, rotateIssuer(second, undefined))).toBe("authority_superseded");
        const results = await outcomes([[store, rotateIssuer(second, first.id)], [await open(), rotateIssuer(third, first.id)]]);
        expect(count(results)).toEqual({ landed: 1, authority_superseded: 1 });
        expect((await store.authorities()).map(({ state }) => state)).toEqual(["retiring", "active"]);
      });

      promise("an authority's state changes only from what it is", async () => {
        const authority = newAuthority({ state: "retiring" });
        await store.commit(initialize(verifierKey, { authorities: [authority] }));
        expect(await outcomes([
          [store, setAuthorityState(authority.id, "active", "retired")],
          [store, setAuthorityState(authority.id, "retiring", "retired")],
          [store, setAuthorityState(authority.id, "retiring", "retired")],
          [store, setAuthorityState("none", "active", "retired")],
        ])).toEqual(["authority_superseded", "landed", "authority_superseded", "authority_superseded"]);
        expect((await store.authorities())[0]?.state).toBe("retired");
      });

      promise("a refused act leaves no trace and the others of its group land", async () => {
        const token = newToken();
        const taken = newCertificate();
        await store.commit(createToken(token));
        await store.commit(issue(taken));
        const doomed = newCertificate({ keyFingerprint: taken.keyFingerprint });
        const idempotency = { scope: "s", key: "k", requestHash: "h", expiresAtMs: startMs + hourMs };
        expect(await outcomes([
          [store, record("before")],
          [store, issue(doomed, { redeem: { tokenId: token.id, version: 0 }, idempotency })],
          [store, record("after")],
        ])).toEqual(["landed", "key_reused", "landed"]);
        expect(await store.token(token.id)).toMatchObject({ version: 0 });
        expect(await store.idempotent("s", "k")).toBeUndefined();
        expect(await store.certificate(doomed.serialNumber)).toBeUndefined();
        expect((await verifyStore(store, verifierKey)).join()).not.toContain(doomed.serialNumber);
      });
    });

    describe("who holds a lease", () => {
      const claim = (holder: string, name = "authority") => ({ name, holder, ttlMs: 60_000 });
      const fenced = (token: number, act: Act = record("fenced")): Act => ({ ...act, fence: { lease: "authority", token } });

      promise("of 20 that ask at once, one, and each is told who", async () => {
        const other = await open();
        const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => (index % 2 ? store : other).acquireLease(claim(`p${index}`))));
        const [winner] = answers.flatMap((answer, index) => answer.held ? [`p${index}`] : []);
        expect(answers.filter(({ held }) => held)).toEqual([{ held: true, token: 1 }]);
        expect(answers.filter(({ held }) => !held)).toEqual(Array.from({ length: 19 }, () => ({ held: false, holder: winner })));
      });

      promise("its token stays with a renewal and rises with each change of holder", async () => {
        expect(await store.acquireLease(claim("a"))).toEqual({ held: true, token: 1 });
        expect(await store.acquireLease(claim("a"))).toEqual({ held: true, token: 1 });
        expect(await store.acquireLease(claim("b"))).toEqual({ held: false, holder: "a" });
        await store.releaseLease(claim("b"));
        expect(await store.acquireLease(claim("b"))).toEqual({ held: false, holder: "a" });
        await store.releaseLease(claim("a"));
        expect(await store.acquireLease(claim("b"))).toEqual({ held: true, token: 2 });
        expect(await store.acquireLease(claim("b", "another"))).toEqual({ held: true, token: 1 });
      });

      promise("one that is over is anybody's, also one that a clock put back would make last for ever", async () => {
        await store.acquireLease(claim("a"));
        await database.execute("update leases set expires_at_ms = 0");
        expect(await store.acquireLease(claim("b"))).toEqual({ held: true, token: 2 });
        await database.execute(`update leases set expires_at_ms = ${Date.now() + 3_600_000}`);
        expect(await store.acquireLease(claim("c"))).toEqual({ held: true, token: 3 });
        expect(await store.acquireLease(claim("d"))).toEqual({ held: false, holder: "c" });
      });

      promise("a holder that was paused cannot act under the lease that another took meanwhile", async () => {
        const other = await open();
        await store.acquireLease(claim("paused"));
        expect(await outcome(store, fenced(1))).toBe("landed");
        await database.execute("update leases set expires_at_ms = 0");
        // Its time is over and nobody else has taken it: what it does is still its alone.
        expect(await outcome(store, fenced(1))).toBe("landed");
        await other.acquireLease(claim("next"));
        const rotation = rotateIssuer(newAuthority(), undefined);
        expect(await outcomes([[store, fenced(1, rotation)], [store, record("unfenced")], [other, fenced(2, rotation)], [store, fenced(1, issue())]]))
          .toEqual(["lease_lost", "landed", "landed", "lease_lost"]);
        await other.releaseLease(claim("next"));
        expect(await outcome(other, fenced(2))).toBe("lease_lost");
        expect(await outcome(store, { ...record("x"), fence: { lease: "unknown", token: 1 } })).toBe("lease_lost");
      });
    });

    describe("what it survives", () => {
      promise("an act that the database refuses fails alone, and it is known that it did", async () => {
        const refused = "spiffe://east/refused";
        await database.refuseCertificatesFor(refused);
        const results = await Promise.allSettled([
          store.commit(issue()), store.commit(issue(newCertificate({ spiffeId: refused }))), store.commit(record("third")), store.commit(issue()),
        ]);
        expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
        expect((results[1] as PromiseRejectedResult).reason).toMatchObject({ code: "store_unavailable", outcomeKnown: true });
      });

      const writes: readonly (readonly [table: string, operation: "insert" | "update"])[] = [
        ["certificates", "insert"], ["idempotency_keys", "insert"], ["tokens", "update"], ["audit_entries", "insert"],
        ["audit_checkpoints", "insert"], ["log_head", "update"], ["audit_subtrees", "insert"],
      ];
      test.each(writes)("%s: %s fails: nothing of the act is there, and the next try lands", async (table, operation) => {
        const token = newToken();
        await store.commit(createToken(token));
        await Promise.all(Array.from({ length: 254 }, (_, index) => store.commit(record(`${index}`))));
        const certificate = newCertificate();
        // The 256th entry: it completes a subtree, so every table of an issuance is written to.
        const act = issue(certificate, {
          redeem: { tokenId: token.id, version: 0 }, idempotency: { scope: "s", key: "k", requestHash: "h", expiresAtMs: startMs + hourMs },
        });
        await database.breakTable(table, operation);
        await expect(store.commit(act)).rejects.toMatchObject({ code: "store_unavailable", outcomeKnown: true });
        expect(await verifyStore(store, verifierKey)).toHaveLength(255);
        expect(await store.certificate(certificate.serialNumber)).toBeUndefined();
        expect(await store.idempotent("s", "k")).toBeUndefined();
        expect(await store.token(token.id)).toMatchObject({ version: 0 });
        await database.repair();
        expect(await store.commit(act)).toEqual({ logIndex: 255 });
        await verifyStore(store, verifierKey);
      });

      promise("two stores on one database, 200 commits each at once: one log without gaps", async () => {
        const other = await open();
        const receipts = await Promise.all([store, other].flatMap((each) =>
          Array.from({ length: 200 }, (_, index) => each.commit(index % 3 ? issue() : record("a", "b")))));
        const expected = receipts.length + Math.ceil(200 / 3) * 2;
        expect(await verifyStore(other, verifierKey)).toHaveLength(expected);
        expect(new Set(receipts.map(({ logIndex }) => logIndex)).size).toBe(receipts.length);
      });

      promise("what was committed is there after kill -9", async () => {
        const key = Buffer.from(sealer.privateKeyPkcs8).toString("base64");
        const child = spawn(process.execPath, [committer, database.url, key], { stdio: ["ignore", "pipe", "inherit"] });
        const printed: string[] = [];
        for await (const line of createInterface({ input: child.stdout })) {
          if (/^[0-9a-f]{32}$/.test(line)) printed.push(line);
          if (printed.length === 200) child.kill("SIGKILL");
        }
        expect(printed.length).toBeGreaterThanOrEqual(200);
        const kept = new Set((await store.certificates({ limit: 100_000, nowMs: 0 })).map(({ serialNumber }) => serialNumber));
        expect(printed.filter((serialNumber) => !kept.has(serialNumber))).toEqual([]);
        await store.commit(issue());
      });

      promise("close waits for what is in flight and refuses what comes later", async () => {
        const other = await open();
        const inFlight = Array.from({ length: 20 }, () => other.commit(issue()));
        await other.close();
        await Promise.all(inFlight);
        await expect(other.commit(record("late"))).rejects.toMatchObject({ code: "store_unavailable" });
        await expect(other.state()).rejects.toMatchObject({ code: "store_unavailable" });
        await expect(other.ping()).rejects.toMatchObject({ code: "store_unavailable" });
        await other.close();
        expect(await verifyStore(store, verifierKey)).toHaveLength(20);
      });

      promise("a store opened for reading reads and writes nothing", async () => {
        await store.commit(issue());
        const reader = await openStore({ url: database.url, readOnly: true });
        opened.push(reader);
        expect(await verifyStore(reader, verifierKey)).toHaveLength(1);
        await expect(reader.commit(record("no"))).rejects.toMatchObject({ code: "store_unavailable" });
        await expect(reader.unlock(sealer)).rejects.toMatchObject({ code: "store_unavailable" });
      });
    });

    describe("how it guards the log", () => {
      promise("nothing is committed before the log's key is there", async () => {
        const locked = await openStore({ url: database.url });
        opened.push(locked);
        await expect(locked.commit(record("early"))).rejects.toMatchObject({ code: "store_unavailable", outcomeKnown: true });
        await locked.unlock(sealer);
        await locked.commit(record("late"));
      });

      promise("a key that did not sign the log does not unlock it", async () => {
        await store.commit(record("a"));
        await expect(openStore({ url: database.url, sealer: newSealer().sealer })).rejects.toMatchObject({ code: "log_inconsistent" });
        await expect(openStore({ url: database.url, sealer: { ...sealer, origin: "other" } })).rejects.toMatchObject({ code: "log_inconsistent" });
      });

      promise("a process that lost the race to initialize adds nothing to the winner's log under its own key", async () => {
        const loser = newSealer();
        const other = await openStore({ url: database.url, sealer: loser.sealer });
        opened.push(other);
        await store.commit(initialize(verifierKey));
        expect(await outcome(other, initialize(loser.verifierKey))).toBe("already_initialized");
        expect(await outcome(other, record("no"))).toBe("log_inconsistent");
        await other.unlock(sealer);
        expect(await outcome(other, record("yes"))).toBe("landed");
      });

      const faults: readonly (readonly [fault: string, sql: string])[] = [
        ["the head claims fewer entries", "update log_head set size = 2"],
        ["the head is of another tree", "update log_head set hashes = (select leaf_hash from audit_entries where idx = 1)"],
        ["the head is gone", "delete from log_head"],
        ["the newest checkpoint is gone", "delete from audit_checkpoints where size = 4"],
        ["every checkpoint is gone", "delete from audit_checkpoints"],
        ["the newest checkpoint is another's", "update audit_checkpoints set note = (select note from audit_checkpoints where size = 2) where size = 4"],
        ["the newest checkpoint is no note", "update audit_checkpoints set note = 'x' where size = 4"],
        ["a checkpoint is ahead of the head", "insert into audit_checkpoints (size, note) select 9, note from audit_checkpoints where size = 4"],
      ];
      test.each(faults)("%s: nothing is committed and nothing opens, but for reading", async (_fault, sql) => {
        for (const code of ["a", "b", "c", "d"]) await store.commit(record(code));
        await database.execute(sql);
        expect(await outcome(store, record("no"))).toBe("log_inconsistent");
        await expect(openStore({ url: database.url, sealer })).rejects.toMatchObject({ code: "log_inconsistent" });
        expect(await store.entries({ start: 0, limit: 9 })).toHaveLength(4);
        await (await openStore({ url: database.url, readOnly: true })).close();
      });

      test("a database that went back to an older state is not written to by the process that saw the newer", async () => {
        for (const code of ["a", "b", "c", "d"]) await store.commit(record(code));
        await database.execute("update log_head set size = 2, hashes = coalesce((select hash from audit_subtrees where level = 99), hashes)");
        await database.execute("delete from audit_entries where idx > 0");
        await database.execute("delete from audit_checkpoints where size > 1");
        // An older state that fits itself: one entry, whose leaf hash is the compact range.
        await database.execute("update log_head set size = 1, hashes = (select leaf_hash from audit_entries where idx = 0)");
        expect(await outcome(store, record("no"))).toBe("log_inconsistent");
        expect(await verifyStore(store, verifierKey)).toHaveLength(1);
      });
    });
  });
}

const committer = fileURLToPath(new URL("committer.ts", import.meta.url));

/** What became of acts committed all at once: `landed` or the code of the refusal. */
async function outcomes(commits: readonly (readonly [Store, Act])[]): Promise<readonly string[]> {
  return Promise.all(commits.map(([store, act]) => outcome(store, act)));
}

async function outcome(store: Store, act: Act): Promise<string> {
  try {
    await store.commit(act);
    return "landed";
  } catch (error) {
    if (error instanceof StoreError) return error.code;
    throw error;
  }
}

function count(names: readonly string[]): Record<string, number> {
  return Object.fromEntries([...new Set(names)].map((name) => [name, names.filter((each) => each === name).length]));
}

/** With bytes of whatever class as hex: to compare what was written with what was read. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, member: unknown) =>
    member instanceof Uint8Array ? Buffer.from(member).toString("hex")
      : (member as { type?: unknown } | null)?.type === "Buffer" ? Buffer.from((member as { data: number[] }).data).toString("hex") : member));
}
