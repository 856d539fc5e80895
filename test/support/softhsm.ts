import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const modulePath = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so"]
  .find((path) => existsSync(path));
/** False where SoftHSM2 or pkcs11-tool is missing (Debian: softhsm2, opensc): tests that need them are skipped, visibly. */
export const softHsmAvailable: boolean =
  modulePath !== undefined && spawnSync("softhsm2-util", ["--version"]).status === 0 && spawnSync("pkcs11-tool", ["--help"]).error === undefined;

/** A token of its own for a test, and the environment in which it is found. */
export interface SoftHsm {
  readonly modulePath: string;
  readonly label: string;
  readonly pin: string;
  readonly pinFile: string;
  readonly env: Readonly<Record<string, string>>;
  /** `pkcs11:` URI of a key, with the PIN's file. */
  uri(object: string): string;
  createKey(object: string, keyType: "EC:prime256v1" | "EC:secp384r1" | "rsa:2048", ...more: readonly string[]): void;
  remove(): void;
}

export function createSoftHsm(label = "countersign test"): SoftHsm {
  const folder = mkdtempSync(join(tmpdir(), "countersign-hsm-"));
  mkdirSync(join(folder, "tokens"));
  const configuration = join(folder, "softhsm2.conf");
  writeFileSync(configuration, `directories.tokendir = ${join(folder, "tokens")}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  const env = { SOFTHSM2_CONF: configuration };
  const pin = "123456";
  const pinFile = join(folder, "pin");
  writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 });
  const module = modulePath ?? "";
  const run = (command: string, args: readonly string[]): void => {
    const { status, stderr, stdout } = spawnSync(command, [...args], { env: { ...process.env, ...env }, encoding: "utf8", timeout: 30_000 });
    if (status !== 0) throw new Error(`${command} failed: ${stdout}${stderr}`);
  };
  run("softhsm2-util", ["--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "87654321"]);
  let keys = 0;
  return {
    modulePath: module, label, pin, pinFile, env,
    uri: (object) => `pkcs11:token=${encodeURIComponent(label)};object=${object}?module-path=${module}&pin-source=file:${pinFile}`,
    createKey(object, keyType, ...more) {
      keys++;
      run("pkcs11-tool", ["--module", module, "--token-label", label, "--login", "--pin", pin, "--keypairgen", "--key-type", keyType, "--label", object, "--id", `0${keys}`, ...more]);
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
