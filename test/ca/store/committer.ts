import { openStore } from "../../../ca/store/open.ts";
import { issue } from "./acts.ts";

/** A process that issues until it is killed and prints each serial number once its commit has resolved. Arguments: URL, key. */
const [url, key] = process.argv.slice(2);
const store = await openStore({ url: url!, sealer: { origin: "countersign.dev/east/log", privateKeyPkcs8: Buffer.from(key!, "base64") } });
await Promise.all(Array.from({ length: 16 }, async () => {
  for (;;) {
    const act = issue();
    await store.commit(act);
    process.stdout.write(`${act.certificate.serialNumber}\n`);
  }
}));
