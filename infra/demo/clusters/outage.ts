import { failuresOf, until, whileAsking } from "./looks.ts";
import type { Clusters } from "./three-clusters.ts";

interface IdentityPage {
  readonly serialNumber: string;
  readonly failures: number;
}

/** West's CA is away for ten minutes of simulated time, in which its proxy's certificate is due to be renewed. */
export async function showOutage({ showing: { heading, step, say }, east, west, time }: Clusters): Promise<void> {
  heading("West's CA is away for ten minutes; hello goes on asking");
  say(`clocks of CAs and proxies run ${factor} times as fast; deadlines do not`);
  const identity = async (): Promise<IdentityPage> => JSON.parse(await west.page("/identity")) as IdentityPage;
  const asked = await whileAsking(east, async () => {
    const before = await identity();
    await west.stopCa();
    await time.pass(awayMs, factor);
    const { serialNumber, failures } = await identity();
    await step("world's proxy asked for its next certificate", "in vain", () => (failures > 0 && serialNumber === before.serialNumber ? "in vain" : `${failures} times in vain, got ${serialNumber}`));
    await step("with the one it has, good for 14 minutes, it is", "ready", async () => {
      const { ready, reasons } = JSON.parse(await west.page("/readyz")) as { readonly ready: boolean; readonly reasons: readonly string[] };
      return ready ? "ready" : reasons.join("; ");
    });
    await west.startCaAgain();
    await time.pass(untilRetriedMs, factor);
    await step("the CA is back, the certificate is", "renewed", async () => {
      await until("world's proxy to be renewed", async () => (await identity()).serialNumber !== before.serialNumber);
      return "renewed";
    });
  });
  await step(`meanwhile hello asked ${asked.asked} times, of which`, "none failed", () => failuresOf(asked));
}

/** Ten minutes in five seconds. */
const factor = 120;
const awayMs = 600_000;
/** What a proxy waits at most before it tries again. */
const untilRetriedMs = 60_000;
