import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startTestCa } from "../support/running-ca.ts";

test("a log that grows while a slow key is asked is never behind its witness", async () => {
  let grow: (() => Promise<void>) | undefined;
  const { ca, store, dataDir, admin, close } = await startTestCa({
    wrapStore: (real) => ({
      ...real,
      // As with a KMS that takes its time: by then another act was witnessed.
      async checkpoint() {
        const newest = await real.checkpoint();
        await grow?.();
        return newest;
      },
    }),
  });
  const witness = join(dataDir, "witnessed-checkpoint");
  try {
    writeFileSync(witness, (await store.checkpoint())!.note);
    grow = async () => {
      grow = undefined;
      await ca.createToken({ type: "join", spiffeId: "spiffe://east/x" }, admin);
      writeFileSync(witness, (await store.checkpoint())!.note);
    };
    const { log } = await ca.vitals();
    expect(log.size).toBeGreaterThan(0);
    expect(log.witnessedSize).toBeLessThanOrEqual(log.size);
  } finally {
    rmSync(witness, { force: true });
    await close();
  }
});
