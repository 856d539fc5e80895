import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const addresses = ["169.254.170.2", "169.254.170.23", "169.254.169.254"];
/** A namespace in which AWS's agents have their own addresses, and nothing else is to be reached. */
function within(command: string) {
  return spawnSync("unshare", ["--net", "sh", "-ec", `ip link set lo up; for a in ${addresses.join(" ")}; do ip addr add $a/32 dev lo; done; ${command}`], { encoding: "utf8", timeout: 60_000, env: { PATH: process.env["PATH"] ?? "", HOME: "/nowhere" } });
}
const canUnshare = within("true").status === 0;
if (!canUnshare) console.warn("Tests in a network namespace are skipped: it needs root, unshare and ip.");

test.skipIf(!canUnshare)("credentials come from AWS's own addresses: a task's agent (ECS), a node's (EKS Pod Identity), the instance's (EC2), by the proxy as by the CA", () => {
  const { stdout, stderr } = within(`exec ${process.execPath} ${fileURLToPath(new URL("../support/aws-agents.ts", import.meta.url))}`);
  expect(stdout, stderr).toBe("ecs ecs\neks eks\nec2 ec2\n");
});
