// Run by `trainFunction`, by the Node.js that is trained: FOLDER CSR. It imports next to nothing, since not all of this repository runs on every Node.js.
import { join } from "node:path";
import { runCompiled } from "../ca/runtime/compiled.ts";
import { frontEnds } from "../test/support/lambda-events.ts";

const [folder = "", csr] = process.argv.slice(2);
const { exports, keepCompiled } = runCompiled(join(folder, "countersign.cjs"));
const { invoke } = exports as typeof import("../ca/runtime/lambda-function.ts");
const deadlineMs = Date.now() + 60_000;
const { adminToken } = (await invoke({ countersign: "first-start" }, deadlineMs)) as { readonly adminToken: string };
const issue = frontEnds["API Gateway, payload 2.0"]({
  method: "POST", path: "/v1/certificates", headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
  body: JSON.stringify({ csr, attestation: { type: "operator", spiffeId: `spiffe://${process.env["COUNTERSIGN_TRUST_DOMAIN"]}/ns/shop/sa/web` } }),
});
const { statusCode, body } = (await invoke(issue, deadlineMs)) as { readonly statusCode: number; readonly body: string };
if (statusCode !== 201) throw new Error(`the function answered ${statusCode} ${body}`);
keepCompiled();
process.exit(0);
