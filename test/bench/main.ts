// `npm run bench`: what a unit of work costs in CPU, measured on real processes over loopback. `-- issue`, `-- crl`, `-- cold`, `-- proxy`, `-- http2` or
// `-- revoke` for one part; `-- domains`, `-- replicas` and `-- million` take minutes and are run by name only.
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { benchCold } from "./cold.ts";
import { benchCrl } from "./crl.ts";
import { benchDomains } from "./domains.ts";
import { benchHttp2 } from "./http2.ts";
import { benchIssue } from "./issue.ts";
import { benchMillion } from "./million.ts";
import { benchProxy } from "./proxy.ts";
import { benchReplicas } from "./replicas.ts";
import { benchRevoke } from "./revoke.ts";

const parts: Readonly<Record<string, () => Promise<void>>> = {
  issue: () => benchIssue(process.env["COUNTERSIGN_BENCH_STORE"]),
  crl: benchCrl,
  cold: benchCold,
  proxy: benchProxy,
  http2: benchHttp2,
  revoke: benchRevoke,
  domains: benchDomains,
  million: benchMillion,
  replicas: benchReplicas,
};
/** The others take minutes. */
const usual = ["issue", "crl", "cold", "proxy", "http2", "revoke"];
const { positionals } = parseArgs({ allowPositionals: true });
const unknown = positionals.filter((name) => !(name in parts));
if (unknown.length > 0) {
  console.error(`There is no bench ${unknown.join(", ")}; there are: ${Object.keys(parts).join(", ")}.`);
  process.exit(2);
}

console.log(`Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model ?? "unknown CPU"}`);
for (const [name, run] of Object.entries(parts)) if (positionals.length === 0 ? usual.includes(name) : positionals.includes(name)) await run();
