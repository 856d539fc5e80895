import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openStore } from "../../../ca/store/open.ts";
import type { Act } from "../../../ca/store/acts.ts";
import { StoreError } from "../../../ca/store/errors.ts";
import type { AuthorityChange, AuthorityRow } from "../../../ca/store/rows/authorities.ts";
import type { Store } from "../../../ca/store/store.ts";
import { verifyStore } from "../../support/store-oracle.ts";
import { initialize, issue, newAuthority, newCertificate, newSealer, record, startMs } from "./acts.ts";
import type { TestDatabase } from "./contract.ts";

/** What the life of authorities rests on, each as a test. */
export function describeStoreAuthorities(kind: Store["kind"], newDatabase: () => Promise<TestDatabase>): void {
  describe(`the authorities in a store on ${kind}`, () => {
    const { sealer, verifierKey } = newSealer();
    let database: TestDatabase;
    let store: Store;
    const root = newAuthority({ type: "root", lastNotAfterMs: 0 });
    const { parentId: _, ...rootRow } = root;
    const issuer = newAuthority({ parentId: root.id });

    beforeEach(async () => {
      database = await newDatabase();
      store = await openStore({ url: database.url, sealer });
      await store.commit(initialize(verifierKey, { authorities: [{ ...rootRow, publishedSequence: 1 }, issuer] }));
    });
    afterEach(async () => {
      await store.close();
      await database.dispose();
    });

    type Body = Omit<Extract<Act, { readonly kind: "change-authorities" }>, "kind" | "entries">;
    const change = (body: Body): Act => ({ kind: "change-authorities", ...body, entries: record("step").entries });
    const to = (row: AuthorityRow, state: AuthorityRow["state"], with_: Partial<AuthorityChange> = {}): AuthorityChange => (
      { authorityId: row.id, from: row.state, to: state, atMs: startMs + 9, ...with_ }
    );
    const outcome = (act: Act) => store.commit(act).then(() => "landed", (error: StoreError) => error.code);
    const rowOf = async ({ id }: AuthorityRow) => (await store.authorities()).find((row) => row.id === id);

    test("a row comes back as it went in, wherever its key is", async () => {
      const rows: AuthorityRow[] = [
        newAuthority({ state: "prepared", type: "intermediate", key: { kind: "kms", keyId: "arn:aws:kms:x" }, crossCertificate: Buffer.from([1, 2]), activateAtMs: 5, lastNotAfterMs: 7, createdAtMs: startMs + 1 }),
        newAuthority({ state: "prepared", type: "intermediate", key: { kind: "pkcs11", uri: "pkcs11:object=x" }, createdAtMs: startMs + 2 }),
        newAuthority({ state: "prepared", type: "intermediate", key: { kind: "offline" }, createdAtMs: startMs + 3 }),
      ];
      await store.commit(change({ add: rows }));
      expect((await store.authorities()).slice(-3)).toEqual(rows);
    });

    test("a change lands whole: states with their time, the newcomer, the bundle's sequence", async () => {
      const next = newAuthority({ type: "root", state: "prepared", activateAtMs: 11, createdAtMs: startMs + 1 });
      await store.commit(change({ add: [next], bundleSequence: { from: 1, to: 2 } }));
      await store.commit(change({ changes: [to(root, "retiring"), to(next, "active", { activateAtMs: 12 })] }));
      expect(await rowOf(root)).toMatchObject({ state: "retiring", stateSinceMs: startMs + 9 });
      expect(await rowOf(next)).toMatchObject({ state: "active", stateSinceMs: startMs + 9, activateAtMs: 12 });
      expect((await store.state())?.bundleSequence).toBe(2);
      await verifyStore(store, verifierKey);
    });

    test("it is refused whole when anything is not as expected", async () => {
      const next = newAuthority({ parentId: root.id });
      expect(await outcome(change({ add: [next] }))).toBe("authority_superseded");
      expect(await outcome(change({ add: [next], changes: [{ ...to(issuer, "retiring"), from: "tainted", to: "revoked" }] }))).toBe("authority_superseded");
      expect(await outcome(change({ changes: [to(issuer, "retiring")], bundleSequence: { from: 2, to: 3 } }))).toBe("authority_superseded");
      expect(await store.authorities()).toHaveLength(2);
      expect(await rowOf(issuer)).toMatchObject({ state: "active" });
      expect((await store.state())?.bundleSequence).toBe(1);
    });

    test("a root neither comes into the bundle nor leaves it without a new sequence", async () => {
      expect(await outcome(change({ add: [newAuthority({ type: "root", state: "prepared" })] }))).not.toBe("landed");
      expect(await outcome(change({ changes: [to(root, "revoked")] }))).not.toBe("landed");
    });

    test.each(["tainted", "revoked"] as const)("a certificate of an issuer that is %s by then is refused, also in the same group", async (state) => {
      const by = (row: AuthorityRow) => issue(newCertificate({ authorityId: row.id }));
      const settled = await Promise.all([
        outcome(by(issuer)), outcome(change({ changes: [to(issuer, "retiring")] })), outcome(by(issuer)),
        outcome(change({ changes: [{ ...to(issuer, state), from: "retiring" }] })), outcome(by(issuer)),
      ]);
      expect(settled).toEqual(["landed", "landed", "landed", "landed", "authority_superseded"]);
      expect(await outcome(by(issuer))).toBe("authority_superseded");
    });

    test("a key for JWT-SVIDs knows when the last one ends, retires after that, and signs nothing once it is tainted", async () => {
      const key = newAuthority({ type: "jwt", createdAtMs: startMs + 1 });
      await store.commit(change({ add: [key], bundleSequence: { from: 1, to: 2 } }));
      const token = (expiresAtMs: number): Act => ({ kind: "issue-jwt-svid", authorityId: key.id, expiresAtMs, entries: record("token").entries });
      await Promise.all([store.commit(token(startMs + 5000)), store.commit(token(startMs + 9000)), store.commit(token(startMs + 7000))]);
      expect(await rowOf(key)).toMatchObject({ lastNotAfterMs: startMs + 9000 });
      await store.commit(change({ changes: [to(key, "retiring")] }));
      const end = (state: "retired" | "tainted", atMs: number) => change({ changes: [{ ...to(key, state), from: "retiring", atMs, unusedOnly: state === "retired" }], bundleSequence: { from: 2, to: 3 } });
      expect(await outcome(end("retired", startMs + 9999))).toBe("authority_in_use");
      expect(await outcome(change({ changes: [{ ...to(key, "tainted"), from: "retiring" }] }))).not.toBe("landed"); // it leaves the bundle
      expect(await Promise.all([outcome(token(startMs)), outcome(end("tainted", startMs)), outcome(token(startMs))])).toEqual(["landed", "landed", "authority_superseded"]);
      await verifyStore(store, verifierKey);
    });

    test("an authority is retired with what is below it, and only when nothing below is valid any more", async () => {
      const notAfterMs = startMs + 60_000;
      await store.commit(issue(newCertificate({ authorityId: issuer.id, notAfterMs })));
      await store.commit(issue(newCertificate({ authorityId: issuer.id, notAfterMs: notAfterMs - 10_000 })));
      await store.commit(issue(newCertificate({ authorityId: issuer.id, notAfterMs: notAfterMs + 10_000, attestation: "system" })));
      expect(await rowOf(issuer)).toMatchObject({ lastNotAfterMs: notAfterMs });
      await store.commit(change({ changes: [to(root, "retiring"), to(issuer, "retiring")] }));
      const retire = (rows: readonly AuthorityRow[], atMs: number) => change({
        changes: rows.map((row) => ({ ...to(row, "retired"), from: "retiring" as const, atMs, unusedOnly: true })), bundleSequence: { from: 1, to: 2 },
      });
      expect(await outcome(retire([root, issuer], notAfterMs + 999))).toBe("authority_in_use");
      expect(await outcome(retire([root], notAfterMs + 1000))).toBe("authority_in_use");
      expect(await outcome(retire([root, issuer], notAfterMs + 1000))).toBe("landed");
      expect(await outcome(issue(newCertificate({ authorityId: issuer.id })))).toBe("authority_superseded");
    });

    test("what is revoked with an authority is in the feed under the sequences of its entries", async () => {
      const { logIndex } = await store.commit({
        ...change({ changes: [to(issuer, "revoked")], revocations: ["01", "02"].map((serialNumber) => (
          { serialNumber, reason: "cACompromise", revokedAtMs: startMs, notAfterMs: startMs + 5, authorityId: root.id }
        )) }), entries: record("first", "second").entries,
      });
      expect((await store.revocations({ after: 0, limit: 9 })).map(({ sequence, serialNumber }) => [sequence, serialNumber])).toEqual([[logIndex + 1, "01"], [logIndex + 2, "02"]]);
    });
  });
}
