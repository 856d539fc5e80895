import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { unsealAuthority } from "../../ca/authority/active-issuer.ts";
import { reseal } from "../../ca/reseal.ts";
import { createSealing, loadSealing, type Sealing } from "../../ca/signer/sealing.ts";
import { openStore } from "../../ca/store/open.ts";
import type { Store } from "../../ca/store/store.ts";
import { newCsr, startTestCa, type TestCa } from "../support/running-ca.ts";
import { verifyStore } from "../support/store-oracle.ts";

/** A CA that started while the keys of its store were about to be sealed anew, when nobody looked for one any more. */
let host: TestCa;
let store: Store;
let from: Sealing;
const to = createSealing(randomBytes(32));
beforeEach(async () => {
  host = await startTestCa();
  store = await openStore({ url: `sqlite:${host.dataDir}/countersign.db` });
  from = loadSealing({ sealingKey: undefined, sealingKeyPath: `${host.dataDir}/sealing.key` }, { create: false });
});
afterEach(async () => {
  await store.close();
  await host.close();
});

const sealAnew = (on: Store): Promise<number> => reseal({ store: on, from, to, nowMs: Date.now() });
const issue = () => host.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/web" } }, { caller: host.admin });
const askForJwt = () => host.ca.issueJwtSvid({ audience: ["x"], spiffeId: "spiffe://east/web" }, host.admin);
/** All keys in the store. @throws where one does not open */
const openAll = async (sealing: Sealing): Promise<void> => (await store.authorities()).forEach((row) => void unsealAuthority(row, sealing));

describe("a CA that started unseen while keys are sealed anew", () => {
  test("has nothing changed behind its back once it wrote, and the message says to stop it", async () => {
    const writing: Store = {
      ...store,
      async authorities() {
        const rows = await store.authorities();
        await issue();
        return rows;
      },
    };
    await expect(sealAnew(writing)).rejects.toMatchObject({ code: "sealing_superseded", message: expect.stringContaining("stop it") });
    await openAll(from);
    await issue();
    await verifyStore(store, host.ca.verifierKey);
  });

  test("leaves no key in the store that the new sealing key does not open, goes on issuing, and says that it wants a restart", async () => {
    expect(await sealAnew(store)).toBe(3);
    await expect(askForJwt()).rejects.toMatchObject({ code: "issuer_unavailable" });
    expect(host.logged).toContainEqual(expect.stringContaining("Start this process again with the new sealing key"));
    await openAll(to);
    await issue();
    expect(await host.ca.readiness()).toMatchObject({ ready: true, warnings: [expect.stringContaining("sealed anew")] });
  });

  test("of two that seal the keys anew one wins, and the keys open with its key", async () => {
    const late: Store = {
      ...store,
      async commit(act) {
        const early = await openStore({ url: `sqlite:${host.dataDir}/countersign.db` });
        await sealAnew(early);
        await early.close();
        return store.commit(act);
      },
    };
    await expect(reseal({ store: late, from, to: createSealing(randomBytes(32)), nowMs: Date.now() })).rejects.toMatchObject({ code: "sealing_superseded" });
    await openAll(to);
  });
});
