import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { refused, type Cluster } from "./cluster.ts";
import { askApp, directName, statusThrough, until, whoami, worldName } from "./looks.ts";
import type { Clusters } from "./three-clusters.ts";

/** Invites, allows and asks. */
export async function showTalk(clusters: Clusters): Promise<void> {
  const { showing: { heading, step }, east, west, north, gateway } = clusters;
  heading("One string makes two clusters believe each other");
  await step("east takes west's invitation, and both show", "the same roots", () => federate(west, east));
  await step("north takes east's, and both show", "the same roots", () => federate(east, north));
  await believe(north, west, clusters.dataDir);
  const services = [
    { name: worldName, spiffeId: west.spiffeId, addresses: [addressOf(gateway)] },
    { name: directName, spiffeId: west.spiffeId, addresses: [{ host: west.place.address, port: west.proxy.inboundPort }] },
  ];
  await Promise.all([
    ...[east, north].map((cluster) => cluster.apply({ services, policies: [allowing(cluster, [east, west])] })),
    until("west's proxy to know east's bundle", async () => (await west.page("/identity")).includes('"east"')),
  ]);

  heading("Who is believed may call nothing, until a policy says so");
  await until("hello's proxy to know the way", async () => await statusThrough(east, worldName) === 502);
  await step("hello asks world, before west's policy names it", `${refused}, not_allowed`, () => reasonAt(west, async () => (await statusThrough(east, worldName) === 502 ? refused : "let in")));
  await west.apply({ policies: [allowing(west, [east, north, west])] });
  await until("the policy to be in force", async () => await statusThrough(east, worldName) === 200);
  await step("after it, through west's gateway", "Hello world", () => askApp(east));
  await step("whom world sees, through the gateway", east.spiffeId, () => whoami(east, worldName));
  await step("whom world sees, asked directly, past the gateway", east.spiffeId, () => whoami(east, directName));
}

/** Who is refused by whom, and why. */
export async function showRefusals({ showing: { heading, say, step }, east, west, north }: Clusters): Promise<void> {
  heading("Who is refused");
  // North has west's root, so it would not be the caller who refuses.
  say("west's policy names north's hello, but west is not federated with north");
  await step("hello of north asks world", `${refused}, svid_trust_domain_unknown`, () => reasonAt(west, async () => {
    const answer = await askApp(north);
    return answer.startsWith("hello could not reach world") ? refused : answer;
  }));
  const genuine = west.root.issue(west.spiffeId);
  const rogue = west.root.issue(east.spiffeId);
  for (const cluster of [west, east, north]) {
    await until(`west's own names to be allowed in ${cluster.name}`, async () => await cluster.present(genuine) !== refused);
    await step(`${west.spiffeId} by west's root, in ${cluster.name}`, west.spiffeId, () => cluster.present(genuine));
    await step(`${east.spiffeId} by west's root, in ${cluster.name}`, `${refused}, path_not_found`, () => reasonAt(cluster, () => cluster.present(rogue)));
  }
}

async function federate(inviting: Cluster, accepting: Cluster): Promise<string> {
  interface Side { readonly trustDomain: string; readonly rootFingerprints: readonly string[] }
  const { invitation } = await inviting.ask<{ readonly invitation: string }>("federation", "invite");
  const { own, peer } = await accepting.ask<{ readonly own: Side; readonly peer: Side }>("federation", "accept", invitation);
  const shown = await inviting.ask<{ readonly bundle: { readonly authorities: readonly { readonly fingerprint: string }[] } }>("federation", "show", accepting.name);
  const held = shown.bundle.authorities.map(({ fingerprint }) => fingerprint).join();
  const same = held !== "" && held === own.rootFingerprints.join() && peer.trustDomain === inviting.name && peer.rootFingerprints.length > 0;
  return same ? "the same roots" : `${held} there, ${own.rootFingerprints.join()} here`;
}

/** One way: without it, it would be the caller who refuses. */
async function believe(caller: Cluster, { name, ca, run }: Cluster, dataDir: string): Promise<void> {
  const file = join(dataDir, `${name}.bundle.json`);
  writeFileSync(file, await run("bundle", "show"));
  await caller.run(
    "federation", "add", name, "--profile", "https_spiffe", "--endpoint", `${ca().url}/v1/bundle`, "--endpoint-id", `spiffe://${name}/countersign/ca`, "--bundle", file,
  );
}

function allowing({ name, spiffeId }: Cluster, from: readonly Cluster[]): object {
  return { name: `app-of-${name}`, workloads: [spiffeId], rules: [{ action: "allow", from: from.map((one) => one.spiffeId) }] };
}

function addressOf(address: string): { readonly host: string; readonly port: number } {
  const [host = "", port] = address.split(":");
  return { host, port: Number(port) };
}

/** What came of it, and for what reason the proxy there says that it refused somebody. */
async function reasonAt({ page }: Cluster, act: () => Promise<string>): Promise<string> {
  const counts = async (): Promise<ReadonlyMap<string, string>> => new Map([...(await page("/metrics")).matchAll(/^inbound_refused_total\{reason="([^"]+)"\} (\d+)$/gm)].map(([, reason = "", count = ""]) => [reason, count]));
  const before = await counts();
  const came = await act();
  const reasons = [...await counts()].filter(([reason, count]) => before.get(reason) !== count).map(([reason]) => reason);
  return [came, ...reasons].join(", ");
}
