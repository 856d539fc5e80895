import { readFileSync } from "node:fs";
import { join } from "node:path";
import { failuresOf, until, whileAsking } from "./looks.ts";
import type { Clusters } from "./three-clusters.ts";

/** As the command line prints them. */
type Authorities = readonly { readonly id: string; readonly type: string; readonly state: string; readonly publishedSequence?: string }[];
type Federation = readonly { readonly trustDomain: string; readonly acknowledged?: { readonly bundleSequence: string } }[];

/** East's root is replaced while its app asks west. */
export async function showRootRotation({ showing: { heading, step }, east, west, north, dataDir }: Clusters): Promise<void> {
  heading("East's root is replaced, while hello goes on asking world");
  const asked = await whileAsking(east, async () => {
    const { authorities } = await east.ask<{ readonly authorities: Authorities }>("authority", "rotate", "--type", "root");
    const next = authorities.find(({ type, state }) => type === "root" && state === "prepared");
    await until("the new root to sign", async () => (await east.ask<Authorities>("authority", "list")).some(({ id, state }) => id === next?.id && state === "active"));
    await step("the new root signs, and has been acknowledged by", "north, west", async () => {
      const peers = await east.ask<Federation>("federation", "list");
      return peers.filter(({ acknowledged }) => Number(acknowledged?.bundleSequence) >= Number(next?.publishedSequence)).map(({ trustDomain }) => trustDomain).sort().join(", ");
    });
    const late = join(dataDir, "late");
    await east.run("certificate", "issue", "--id", east.spiffeId, "--cert", `${late}.pem`, "--key", `${late}.key`);
    // Leaf and issuer, without the old root's word for the new one.
    const chain = readFileSync(`${late}.pem`, "utf8").split(/(?<=-----END CERTIFICATE-----\n)/).slice(0, 2).join("");
    for (const cluster of [west, north]) {
      await step(`${east.spiffeId} by the new root alone, in ${cluster.name}`, east.spiffeId, () => cluster.present({ cert: chain, key: readFileSync(`${late}.key`, "utf8") }));
    }
  });
  await step(`meanwhile hello asked ${asked.asked} times, of which`, "none failed", () => failuresOf(asked));
}
