import { once } from "node:events";
import { leaseKeeper } from "../../ca/authority/lease.ts";
import { openStore } from "../../ca/store/open.ts";
import type { StoreError } from "../../ca/store/errors.ts";
import { record } from "../ca/store/acts.ts";

/** A replica with work to do under a lease: says that it holds it, and does the work when it is told to. */
const [url, origin, key] = process.argv.slice(2);
const store = await openStore({ url: url!, sealer: { origin: origin!, privateKeyPkcs8: Buffer.from(key!, "base64") } });
const log = { info() {}, warn() {}, error() {} };
const lease = leaseKeeper({ store, name: "work", ttlMs: 500, log });
const fence = (await lease.hold())!;
console.log(`holds the lease under token ${fence.token}`);
await once(process.stdin, "data");
await store.commit({ ...record("work"), fence }).then(() => console.log("done"), ({ code }: StoreError) => console.log(code));
await lease.close();
await store.close();
