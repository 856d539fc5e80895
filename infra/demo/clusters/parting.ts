import { askApp, worldName } from "./looks.ts";
import type { Clusters } from "./three-clusters.ts";

/** West believes east no more: what is open is cut, and nothing new comes in. */
export async function showParting({ showing: { heading, step }, east, west }: Clusters): Promise<void> {
  heading("West ends the federation with east");
  await east.runner.run("openTunnel", { proxy: east.outbound, name: worldName });
  const cut = east.runner.run("awaitCut", {});
  // Looked at below.
  cut.catch(() => undefined);
  await west.run("federation", "remove", east.name);
  const removedAtMs = Date.now();
  await step("hello's open connection, when the command is back", "cut within a second", async () => {
    const tookMs = await cut - removedAtMs;
    return tookMs <= 1000 ? "cut within a second" : `cut after ${tookMs} ms`;
  });
  await step("hello asks again", "refused", async () => ((await askApp(east)).startsWith("hello could not reach world") ? "refused" : "answered"));
}
