import { parseArgs } from "node:util";
import { AuthorityError } from "../authority/errors.ts";
import { readConfig } from "../config/config.ts";
import { configTable, renderConfigHelp } from "../config/table.ts";
import { RuntimeError } from "../runtime/errors.ts";
import type { ServedCa } from "../runtime/node.ts";
import { ConfigError } from "../settings/errors.ts";
import { SignerError } from "../signer/errors.ts";
import { StoreError } from "../store/errors.ts";
import { explainParseError, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { wrap } from "../settings/wrap.ts";

/**
 * `countersign serve`: runs until it is told to stop.
 * @param stopped  resolves when the process is asked to end
 * @returns the exit code: 0 stopped, 1 could not start, 2 wrong settings
 * @throws {UsageError}
 */
export async function serve(args: readonly string[], io: CliIo, stopped: () => Promise<unknown>): Promise<number> {
  const { help, ...flags } = readFlags(args);
  if (help) {
    io.stdout(`${usage}\n${renderConfigHelp()}`);
    return 0;
  }
  let served: ServedCa;
  let stop: Promise<unknown>;
  try {
    const config = readConfig({ flags, env: io.env });
    // Listened for from here on: asked to stop while it starts, it starts and stops, unless it waits for KMS.
    stop = stopped();
    // Loaded when it is needed: neither --help nor a wrong setting has a use for the database.
    const { serveCa } = await import("../runtime/node.ts");
    served = await serveCa(config, undefined, undefined, stop);
  } catch (error) {
    if (!expectedErrors.some((kind) => error instanceof kind)) throw error;
    io.stderr(`${wrap(`countersign serve: ${(error as Error).message}`)}\n`);
    return error instanceof ConfigError ? 2 : 1;
  }
  io.stdout(await greeting(served));
  await stop;
  await served.stop();
  return 0;
}

function readFlags(args: readonly string[]): { readonly help: boolean } & Readonly<Record<string, string>> {
  const names = [...configTable.flatMap(({ flag }) => flag ?? []), "config"];
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" }] as const));
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { ...options, help: { type: "boolean", short: "h" } },
      strict: true,
    });
    const { help = false, ...flags } = values as { help?: boolean } & Record<string, string>;
    return { ...flags, help } as { readonly help: boolean } & Readonly<Record<string, string>>;
  } catch (cause) {
    throw new UsageError(explainParseError(cause as Error, names), { cause });
  }
}

/** What a person needs to go on; the admin token itself stays in its file. */
async function greeting({ ca, url, publicUrl, statusUrl, files }: ServedCa): Promise<string> {
  const { trustDomain, firstStart } = ca;
  const root = (await ca.authorities()).find(({ type, state }) => type === "root" && state === "active");
  const fingerprint = root?.fingerprint ?? "";
  const beginning =
    firstStart === undefined
      ? `The CA of the trust domain ${trustDomain} goes on.`
      : `A new CA for the trust domain ${trustDomain}${firstStart.rootImported ? ", on your root" : ""}.`;
  const rows: readonly (readonly [string, string])[] = [
    ["API", url],
    ...(publicUrl === url ? [] : [["for proxies", publicUrl] as const]),
    ["docs", `${url}/docs`],
    ...(statusUrl === undefined ? [] : [["CRL, OCSP", statusUrl] as const]),
    ["root", files.root],
    ["SHA-256", `${fingerprint.slice(0, 32)}\n${margin}${fingerprint.slice(32)}`],
    ["audit key", files.verifierKey],
    ...(firstStart === undefined
      ? []
      : [["admin token", `${files.adminToken}\n${margin}(readable by you alone)`] as const]),
  ];
  const next =
    firstStart === undefined
      ? ""
      : `
Keep a copy of the audit key elsewhere: it tells the log from a forged one.
Try:

  curl --cacert ${files.root} \\
      ${url}/readyz
  countersign token create --id spiffe://${trustDomain}/ns/shop/sa/cart
`;
  return `${beginning}\n\n${rows.map(([name, value]) => `  ${name.padEnd(13)}${value}\n`).join("")}${next}`;
}

/** Where the values of the greeting begin. */
const margin = " ".repeat(15);
const expectedErrors = [ConfigError, RuntimeError, StoreError, SignerError, AuthorityError];

const usage = `countersign serve: the CA. The first start makes its keys; later ones resume.

  countersign serve
  countersign serve --trust-domain east.example --listen "*:8443" \\
      --public-url https://ca.east.example:8443
  countersign serve --root-cert root.pem --root-key root.key
      your own root, as openssl or "step certificate create" make them

SIGTERM and SIGINT let requests under way finish; a second one ends at once.
Settings, by flag, environment or JSON file (--config), in this order:
`;
