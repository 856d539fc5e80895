import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { openStore } from "../../../ca/store/open.ts";
import { StoreError } from "../../../ca/store/errors.ts";
import { mountSmallDisk } from "../../support/small-disk.ts";
import { verifyStore } from "../../support/store-oracle.ts";
import { issue, newCertificate, newSealer, record } from "./acts.ts";

const disk = mountSmallDisk(32 * 1024 * 1024);
afterAll(() => disk?.dispose());
afterEach(() => rmSync(join(disk!.path, "ballast"), { force: true }));

describe.skipIf(disk === undefined)("SQLite on a disk that is full", () => {
  test("says so with a code, keeps what it had, reads, and writes again once there is space", async () => {
    const { sealer, verifierKey } = newSealer();
    const url = `sqlite:${disk!.path}/ca/countersign.db`;
    const store = await openStore({ url, sealer });
    const ballast = join(disk!.path, "ballast");
    let landed = 0;
    for (const round of [1, 2, 3]) {
      // All but a little of what is free, so that the disk fills up in the middle of some commit.
      const { bavail, bsize } = statfsSync(disk!.path);
      writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - round * 150_000)));
      let failure: unknown;
      while (failure === undefined) {
        const group = await Promise.allSettled(Array.from({ length: 40 }, () => store.commit(issue(newCertificate()))));
        landed += group.filter(({ status }) => status === "fulfilled").length;
        failure = group.find((outcome) => outcome.status === "rejected")?.reason;
      }
      expect(failure).toBeInstanceOf(StoreError);
      expect(failure).toMatchObject({ code: "store_unavailable", outcomeKnown: true, message: expect.stringMatching(/SQLITE_FULL.*space/) });
      await expect(store.commit(record("x".repeat(1_000_000)))).rejects.toMatchObject({ code: "store_unavailable" });
      // Nothing half-done is there, and what was acknowledged is.
      expect(await store.certificates({ limit: 100_000, nowMs: 0 })).toHaveLength(landed);
      rmSync(ballast);
      await store.commit(issue(newCertificate()));
      landed += 1;
      expect(await verifyStore(store, verifierKey)).toHaveLength(landed);
    }
    await store.close();
    const again = await openStore({ url, sealer });
    expect(await verifyStore(again, verifierKey)).toHaveLength(landed);
    await again.close();
  });

  test("when it fills up while the write-ahead log is moved into the database, nothing is lost either", async () => {
    const { sealer, verifierKey } = newSealer();
    const url = `sqlite:${disk!.path}/tidy/countersign.db`;
    const store = await openStore({ url, sealer });
    // As many acts as it takes until pages are moved; that needs space that is not there.
    const ballast = join(disk!.path, "ballast");
    const commits: Promise<unknown>[] = [];
    for (let count = 0; count < 5_200; count++) {
      commits.push(store.commit(record("r")));
      if (count !== 4_800) continue;
      await Promise.all(commits.splice(0));
      const { bavail, bsize } = statfsSync(disk!.path);
      writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - 300_000)));
    }
    const settled = await Promise.allSettled(commits);
    for (const each of settled) if (each.status === "rejected") expect(each.reason).toMatchObject({ code: "store_unavailable", outcomeKnown: true });
    const landed = 4_801 + settled.filter(({ status }) => status === "fulfilled").length;
    rmSync(ballast);
    // Moving the pages failed behind the commits' backs, and that is no reason for the writer to die.
    await store.commit(record("after"));
    expect(await verifyStore(store, verifierKey)).toHaveLength(landed + 1);
    await store.close();
  });
});
