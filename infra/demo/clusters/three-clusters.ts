import { printEdges, type Edge } from "../edges.ts";
import { programs, startProcess, untilReady } from "../processes.ts";
import type { Stage } from "../stage.ts";
import { startCluster, type Cluster } from "./cluster.ts";
import { worldName } from "./looks.ts";
import { showOutage } from "./outage.ts";
import { showParting } from "./parting.ts";
import { showRootRotation } from "./root-rotation.ts";
import { makeSpots, type Spots } from "./spots.ts";
import { showRefusals, showTalk } from "./talk.ts";
import { timekeeper, type Timekeeper } from "./timekeeper.ts";

/** East, west and north with their apps, and what they are shown on. */
export interface Clusters extends Stage {
  readonly time: Timekeeper;
  readonly east: Cluster;
  readonly west: Cluster;
  readonly north: Cluster;
  /** `host:port` of west's gateway. */
  readonly gateway: string;
}

/** Three CAs that are federated in pairs: who reaches whom, who is refused, and that nothing which happens to a CA is felt by its traffic. */
export async function showThreeClusters(stage: Stage): Promise<void> {
  const { heading, say } = stage.showing;
  const spots = await makeSpots(["east", "west", "north"]);
  stage.atEnd(spots.remove);

  heading(`Three clusters on ${spots.kind}: a CA with its own root, an app, a proxy`);
  const clusters = await startClusters(stage, spots);
  const { east, west, north, gateway } = clusters;
  for (const { ca, spiffeId } of [east, west, north]) say(`${spiffeId}, from ${ca().url}`);
  say(`west's gateway at ${gateway}, which has no key and no identity`);

  await showTalk(clusters);
  await showRefusals(clusters);
  await showRootRotation(clusters);
  await showOutage(clusters);

  heading("What the proxies saw");
  const edges = await Promise.all([east, west].map(async ({ page }) => JSON.parse(await page("/edges")) as { edges: Edge[] }));
  printEdges(edges.flatMap((answer) => answer.edges), { trustDomains: true });

  await showParting(clusters);
  await showLog(clusters);
  if (!stage.once) lookAround(clusters);
}

async function startClusters(stage: Stage, spots: Spots): Promise<Clusters> {
  const time = timekeeper();
  const common = (name: string) => ({ name, spot: spots.of(name), time });
  // One before the others, which take what Node.js compiled for it.
  const east = await startCluster(stage, { ...common("east"), app: "hello", inbound: 4143 });
  const [west, north] = await Promise.all([
    // Certificates of 14 minutes, so that they have to be renewed while the CA is away. OpenSSL in the command line knows no simulated time:
    // that what begins later is good already is for it.
    startCluster(stage, {
      ...common("west"), app: "world", inbound: 4243, proxyArgs: ["--certificate-lifetime", "14m"], caEnv: { COUNTERSIGN_CLOCK_SKEW: "15m" },
    }),
    startCluster(stage, { ...common("north"), app: "hello", inbound: 4143 }),
  ]);
  return { ...stage, time, east, west, north, gateway: await startGateway(stage, west) };
}

/** The one address of west that others need to reach. */
async function startGateway({ keep }: Stage, { place, proxy }: Cluster): Promise<string> {
  const [listen, admin] = [`${place.address}:${await place.port(4143)}`, `${place.loopback}:${await place.port(4291)}`];
  const gateway = keep(startProcess(programs.proxy, [
    "gateway", "--listen", listen, "--admin", admin, "--route", `*.west=${place.address}:${proxy.inboundPort}`,
  ], {}, { place }));
  await untilReady("the gateway", gateway, () => place.status(`http://${admin}/readyz`));
  return listen;
}

async function showLog({ showing, west }: Clusters): Promise<void> {
  showing.heading("And each CA can prove what it did");
  const { ok, size } = JSON.parse(await west.run("audit", "verify", "--json")) as { readonly ok: boolean; readonly size: number };
  await showing.step(`west's audit log, ${size} entries`, "verified", () => (ok ? "verified" : "does not fit"));
}

function lookAround({ showing, east, west, gateway }: Clusters): void {
  showing.heading("Look around");
  const inside = ({ place: { enter } }: Cluster): string => (enter.length === 0 ? "" : `${enter.join(" ")} `);
  const settings = ({ ca }: Cluster): string => `COUNTERSIGN_URL=${ca().url} \\
      COUNTERSIGN_DATA_DIR=${ca().dataDir} \\`;
  const command = (cluster: Cluster): string => `${settings(cluster)}
      ${inside(cluster)}node_modules/.bin/node \\
      ca/main.ts federation`;
  console.log(`  hello asks world by way of the gateway at ${gateway}, and is refused:
    ${inside(east)}curl -x http://${east.outbound} \\
      http://${worldName}/
  until west has invited east again, and east has accepted:
    ${command(west)} invite
    ${command(east)} accept STRING`);
}
