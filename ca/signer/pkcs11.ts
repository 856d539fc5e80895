import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describeSpki } from "../pki/key.ts";
import { SignerError } from "./errors.ts";
import { readSecretFile } from "./key-file.ts";
import { fitKeys, outsideSigner, type OutsideSigner } from "./outside.ts";
import type { Pkcs11Reply, Pkcs11Request } from "./pkcs11-call.ts";
import type { Pkcs11Uri } from "./pkcs11-uri.ts";

export interface Pkcs11Options {
  /** The token's user PIN, where it is not in a file that the URI names. */
  readonly pin?: string | undefined;
  /** Default 30 s: a token that is busy, or asks for a touch. */
  readonly timeoutMs?: number;
  /** What the child process runs; tests give one that hangs. */
  readonly entry?: URL;
}

/**
 * Reads the public part of a key on a token.
 * @throws {SignerError} key_unknown | key_unfit | key_refused | key_location_malformed | signer_unavailable
 */
export async function pkcs11PublicKey(uri: Pkcs11Uri, options: Pkcs11Options): Promise<Uint8Array> {
  const spki = await ask(uri, options, {});
  try {
    describeSpki(spki);
  } catch (cause) {
    throw new SignerError("key_unfit", `${uri.text} is refused (${(cause as Error).message}); use ${fitKeys}`, { cause });
  }
  return spki;
}

/**
 * Signs with a key on a token. Making it asks nobody, so a CA starts while the token is away.
 * @param spki  pinned when the authority was made
 */
export function pkcs11Signer(uri: Pkcs11Uri, spki: Uint8Array, options: Pkcs11Options): OutsideSigner {
  let refusal: SignerError | undefined;
  return outsideSigner(`the key ${uri.text}`, spki, async (algorithm, digest) => {
    // A token locks after a few wrong PINs: one is enough.
    if (refusal !== undefined) throw refusal;
    try {
      return await ask(uri, options, { sign: { algorithm, digest: Buffer.from(digest).toString("base64") } });
    } catch (error) {
      if (error instanceof SignerError && error.code === "key_refused") {
        refusal = new SignerError(
          "key_refused", `${error.message}; it is not tried again before the next start: tokens lock after a few wrong PINs`, { cause: error },
        );
        throw refusal;
      }
      throw error;
    }
  });
}

async function ask(
  uri: Pkcs11Uri, { pin: given, timeoutMs = defaultTimeoutMs, entry = callEntry() }: Pkcs11Options, request: Pick<Pkcs11Request, "sign">,
): Promise<Uint8Array> {
  const { pinFile, ...key } = uri;
  const pin = pinFile === undefined ? given : readSecretFile(pinFile)?.replace(/\r?\n$/, "");
  if (pin === undefined || pin === "") {
    throw new SignerError(
      "key_refused",
      pinFile === undefined
        ? `there is no PIN for ${uri.text}: add pin-source=FILE to the URI, or set COUNTERSIGN_PKCS11_PIN`
        : `there is no PIN in ${pinFile}, which pin-source names`,
    );
  }
  const output = await run(entry, JSON.stringify({ key, pin, ...request } satisfies Pkcs11Request), timeoutMs);
  const reply = JSON.parse(output) as Pkcs11Reply;
  if ("result" in reply) return Buffer.from(reply.result, "base64");
  throw new SignerError(reply.code, reply.message);
}

/**
 * One process for one call: a module is somebody else's native code, which may block for ever or take the process down. It is
 * called about once in 23 hours, so that its start (0.1 s) does not matter, and no session can go stale.
 */
async function run(entry: URL, input: string, timeoutMs: number): Promise<string> {
  const { spawn } = await import("node:child_process");
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", fileURLToPath(entry)], {
      stdio: ["pipe", "pipe", "ignore"], timeout: timeoutMs, killSignal: "SIGKILL",
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (output.length > maxOutputChars) child.kill("SIGKILL");
    });
    const fail = (why: string, cause?: unknown): void =>
      reject(new SignerError("signer_unavailable", `the PKCS#11 module could not be used: ${why}`, { cause }));
    child.on("error", (cause) => fail("its process did not start", cause));
    child.on("close", (code, signal) => {
      if (code === 0) resolve(output);
      else if (signal === "SIGKILL") fail(`no answer within ${timeoutMs / 1000} s; is the token asking for something?`);
      else fail(`its process ended with ${signal ?? `code ${code}`}; the module may have crashed`);
    });
    // What dies before it has read says so by its exit.
    child.stdin.on("error", () => undefined).end(input);
  });
}

/** In a bundle there is no source beside us, but the bundled entry. */
function callEntry(): URL {
  const source = new URL("./pkcs11-call.ts", import.meta.url);
  return existsSync(source) ? source : new URL("./pkcs11-call.js", import.meta.url);
}

const defaultTimeoutMs = 30_000;
/** An RSA-4096 public key in base64 has 740. */
const maxOutputChars = 16 * 1024;
