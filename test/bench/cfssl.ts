import { execFileSync, spawn, type ExecFileSyncOptions } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";

/** A CA beside ours in the same run: signs what it is sent and stores nothing. */
export interface Cfssl {
  readonly pid: number;
  readonly url: string;
  readonly root: Buffer;
  stop(): void;
}

/** Starts `cfssl serve` (Debian: golang-cfssl) over HTTPS with a P-256 issuer; undefined where it is not installed. */
export async function startCfssl(folder: string, port: number): Promise<Cfssl | undefined> {
  const inFolder: ExecFileSyncOptions = { cwd: folder, stdio: ["pipe", "pipe", "ignore"] };
  try {
    execFileSync("cfssl", ["version"], inFolder);
  } catch {
    return undefined;
  }
  const request = { CN: "bench", key: { algo: "ecdsa", size: 256 }, hosts: ["127.0.0.1"] };
  writeFileSync(join(folder, "ca.json"), JSON.stringify({ ...request, ca: { expiry: "8760h" } }));
  writeFileSync(join(folder, "server.json"), JSON.stringify({ ...request, CN: "server" }));
  const made = execFileSync("cfssl", ["gencert", "-initca", "ca.json"], inFolder);
  execFileSync("cfssljson", ["-bare", "ca"], { ...inFolder, input: made });
  const server = execFileSync("cfssl", ["gencert", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "server.json"], inFolder);
  execFileSync("cfssljson", ["-bare", "server"], { ...inFolder, input: server });
  const signing = { signing: { default: { expiry: "24h", usages: ["digital signature", "server auth", "client auth"] } } };
  writeFileSync(join(folder, "config.json"), JSON.stringify(signing));
  const child = spawn("cfssl", [
    "serve", "-address", "127.0.0.1", "-port", String(port), "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-config", "config.json",
    "-tls-key", "server-key.pem", "-tls-cert", "server.pem", "-loglevel", "3",
  ], { cwd: folder, stdio: "ignore" });
  await listening(port);
  return {
    pid: child.pid!,
    url: `https://127.0.0.1:${port}/api/v1/cfssl/sign`,
    root: readFileSync(join(folder, "ca.pem")),
    stop: () => void child.kill(),
  };
}

async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => { socket.destroy(); resolve(true); });
      socket.once("error", () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, attemptIntervalMs));
  }
  throw new Error(`cfssl does not listen on port ${port}`);
}

const maxAttempts = 100;
const attemptIntervalMs = 50;
