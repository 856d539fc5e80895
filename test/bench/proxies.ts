// Many proxies in one process, each with its own identity, stream and inbound listener: `proxies.ts <app port> < bootstrap strings`. Prints
// their ports when all of them follow the CA's stream.
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { systemClock } from "../../proxy/clock.ts";
import { readConfig } from "../../proxy/config/config.ts";
import { countExchanges } from "../../proxy/exchanges.ts";
import { identityHolder } from "../../proxy/identity/source.ts";
import { startIdentity } from "../../proxy/identity/start.ts";
import { startInbound } from "../../proxy/inbound/server.ts";
import { createMetrics } from "../../proxy/metrics.ts";

const [app = ""] = process.argv.slice(2);
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const bootstraps = (await text(process.stdin)).trim().split("\n");
const proxies = await Promise.all(bootstraps.map(async (bootstrap) => {
  const config = readConfig({
    args: ["--inbound", "127.0.0.1:0", "--outbound", "off", "--admin", "off", "--app", `127.0.0.1:${app}`, "--inbound-protocol", "tcp", "--revocation-poll", "1h"],
    env: { COUNTERSIGN_BOOTSTRAP: bootstrap },
  });
  const holder = identityHolder(systemClock.now);
  const metrics = createMetrics();
  const { addresses } = await startInbound({ config, source: holder, metrics, exchanges: countExchanges(metrics), log: silent });
  const keeper = startIdentity({ config, holder, clock: systemClock, random: Math.random, log: silent, metrics });
  return { port: Number(addresses[0]?.split(":").at(-1)), isStreamed: () => keeper.status().feed?.watch.liveSinceMs !== undefined && holder.policy() !== undefined };
}));
while (!proxies.every(({ isStreamed }) => isStreamed())) await delay(20);
process.stdout.write(`${JSON.stringify(proxies.map(({ port }) => port))}\n`);
