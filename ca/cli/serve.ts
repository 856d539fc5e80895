import { parseArgs } from "node:util";
import { AuthorityError } from "../authority/errors.ts";
import { ConfigError, readConfig } from "../config.ts";
import { configTable, renderConfigHelp } from "../config-table.ts";
import { ListenError, serveCa, type ServedCa } from "../runtime/node.ts";
import { SignerError } from "../signer/errors.ts";
import { StoreError } from "../store/store.ts";
import type { CliIo } from "./io.ts";
import { wrap } from "./wrap.ts";

/**
 * `countersign serve`: runs until it is told to stop.
 * @param stopped  resolves with the name of the signal that ends it
 * @returns the exit code: 0 stopped, 1 could not start, 2 wrong usage or settings
 */
export async function serve(args: readonly string[], io: CliIo, stopped: () => Promise<string>): Promise<number> {
  let served: ServedCa;
  try {
    const { help, ...flags } = readFlags(args);
    if (help) {
      io.stdout(`${usage}\n${renderConfigHelp()}`);
      return 0;
    }
    served = await serveCa(readConfig({ flags, env: io.env }));
  } catch (error) {
    if (!isExpected(error)) throw error;
    io.stderr(`${wrap(`countersign serve: ${error.message}`)}\n`);
    return error instanceof ConfigError ? 2 : 1;
  }
  io.stdout(greeting(served));
  await stopped();
  await served.stop();
  return 0;
}

function readFlags(args: readonly string[]): { help: boolean } & Record<string, string | undefined> {
  const options = Object.fromEntries([...configTable.flatMap(({ flag }) => flag ?? []), "config"].map((flag) => [flag, { type: "string" }] as const));
  try {
    const { values } = parseArgs({ args: [...args], options: { ...options, help: { type: "boolean", short: "h" } }, strict: true });
    return { ...values, help: values.help === true } as { help: boolean } & Record<string, string | undefined>;
  } catch (cause) {
    const [reason = ""] = (cause as Error).message.split(". ");
    throw new ConfigError("unknown_setting", `${reason}; "countersign serve --help" lists the settings`, { cause });
  }
}

/** What a person needs to go on; the token itself stays in its file. */
function greeting({ ca, url, publicUrl, files }: ServedCa): string {
  const { firstStart } = ca;
  const fingerprint = firstStart?.rootFingerprint;
  return [
    firstStart ? `A new CA for the trust domain ${ca.trustDomain}${firstStart.rootImported ? ", on your root" : ""}.` : `The CA of the trust domain ${ca.trustDomain} goes on.`,
    `  API          ${url}${publicUrl === url ? "" : ` (for proxies: ${publicUrl})`}`,
    `  docs         ${url}/docs`,
    `  root         ${files.root}`,
    ...(fingerprint === undefined ? [] : [`               SHA-256 ${fingerprint.slice(0, 32)}`, `                       ${fingerprint.slice(32)}`]),
    `  audit key    ${files.verifierKey} (keep a copy elsewhere)`,
    ...(firstStart ? [`  admin token  ${files.adminToken} (readable by you alone)`] : []),
    "",
  ].join("\n");
}

function isExpected(error: unknown): error is Error {
  return [ConfigError, ListenError, StoreError, SignerError, AuthorityError].some((kind) => error instanceof kind)
    || (error instanceof Error && ["EACCES", "EROFS", "ENOTDIR", "EPERM", "ENOSPC"].includes(String((error as NodeJS.ErrnoException).code)));
}

const usage = `countersign serve: the CA. The first start makes its keys; later ones resume.

  countersign serve
  countersign serve --trust-domain east.example --listen 0.0.0.0:8443 \\
    --public-url https://ca.east.example:8443
  countersign serve --root-cert root.pem --root-key root.key

Settings, by flag, environment or JSON file (--config), in this order:
`;
