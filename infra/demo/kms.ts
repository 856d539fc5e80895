// For trying out keys in KMS without AWS: its protocol on a loopback port, with keys in memory. Names the keys it is to have as aliases; what
// ends in "sealing" wraps, any other signs. Prints the environment that the CA needs.
import { startKmsServer } from "../../test/support/kms-server.ts";

const kms = await startKmsServer();
for (const name of process.argv.slice(2)) {
  const key = name.endsWith("sealing") ? kms.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT") : kms.createKey("ECC_NIST_P384");
  kms.keys.aliases.set(`alias/${name}`, key.keyId);
}
const env = Object.entries({ ...kms.env, COUNTERSIGN_KMS_ENDPOINT: kms.endpoint });
process.stdout.write(env.map(([name, value]) => `export ${name}=${value}\n`).join(""));
process.once("SIGINT", () => process.exit(130)).once("SIGTERM", () => process.exit(143));
