import { generateKeyPairSync } from "node:crypto";
import { closeSync, openSync, rmSync, writeFileSync } from "node:fs";
import type { CertificateDetail, CertificatePage, IssuedCertificate, IssueRequest } from "../contract/certificates.ts";
import { paths } from "../contract/paths.ts";
import { revocationReasons, type Revocation } from "../contract/revocations.ts";
import { encodeCsr } from "../pki/csr.ts";
import { api, apiHelp, apiOptions, ApiError, type Api } from "./api.ts";
import { chooseAction, noMore, readArguments, required, revocationReason, seconds, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output, type Output } from "./output.ts";
import { minute, pathOf, table } from "./table.ts";
import { wrap } from "../settings/wrap.ts";

/** `countersign certificate issue|list|show|revoke|inspect`. */
export async function certificate(args: readonly string[], io: CliIo): Promise<number> {
  // It talks to no CA, so it has flags of its own.
  if (args[0] === "inspect") return (await import("./inspect.ts")).inspect(args.slice(1), io);
  const {
    values,
    positionals: [action, ...rest],
  } = readArguments(args, { ...apiOptions, ...certificateOptions });
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  const out = output(values.output, io);
  switch (chooseAction("certificate", action, ["issue", "list", "show", "revoke", "inspect"])) {
    case "issue":
      noMore(rest);
      await issue(values, () => api(values, io), out);
      return 0;
    case "list": {
      noMore(rest);
      const filters = { ...(values.id && { spiffeId: values.id }), ...(values.status && { status: values.status }) };
      const query = new URLSearchParams({ limit: "1000", ...filters });
      const page = await api(values, io).call<CertificatePage>("GET", `${paths.certificates}?${query}`);
      const rows = page.certificates.map((row) => [
        row.serialNumber,
        row.status,
        minute(row.notAfter).slice(5),
        pathOf(row.spiffeId),
      ]);
      out.print(page.certificates, table(["SERIAL NUMBER", "STATUS", "UNTIL", "PATH OF THE ID"], rows));
      if (page.nextCursor !== undefined)
        io.stderr("There are more; these are the newest 1000. Narrow it with --id or --status.\n");
      return 0;
    }
    case "show": {
      const path = certificatePath(rest);
      const { chain, ...facts } = await api(values, io).call<CertificateDetail>("GET", path);
      const lines = Object.entries(facts).map(([name, value]) => `${name.padEnd(18)}${String(value) || "-"}\n`);
      out.print({ ...facts, chain }, `${lines.join("")}\n${chain}`);
      return 0;
    }
    case "revoke": {
      const path = certificatePath(rest);
      const reason = revocationReason(values.reason);
      const revocation = await api(values, io).call<Revocation>("POST", `${path}/revoke`, { reason });
      out.print(
        revocation,
        `${revocation.serialNumber} is revoked (${reason}).\nConnected proxies refuse it within a second, others when they ask next.\n`,
      );
      return 0;
    }
    case "inspect":
      throw new UsageError('"inspect" comes first: countersign certificate inspect FILE');
  }
}

const certificateOptions = {
  id: { type: "string" },
  dns: { type: "string", multiple: true },
  ttl: { type: "string" },
  cert: { type: "string" },
  key: { type: "string" },
  status: { type: "string" },
  reason: { type: "string", default: "unspecified" },
} as const;

interface IssueFlags {
  readonly id?: string | undefined;
  readonly dns?: readonly string[] | undefined;
  readonly ttl?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** Makes a key here, has it certified, and leaves either both files or none. */
async function issue(flags: IssueFlags, connect: () => Api, out: Output): Promise<void> {
  const spiffeId = required(flags.id, "--id", "spiffe://TD/ns/shop/sa/cart");
  const [certPath, keyPath] = [required(flags.cert, "--cert", "cart.pem"), required(flags.key, "--key", "cart.key")];
  if (certPath === keyPath) throw new UsageError("--cert and --key name one file; the chain is for others and the key is not.");
  const lifetime = flags.ttl === undefined ? {} : { lifetimeSeconds: seconds(flags.ttl, "--ttl") };
  const client = connect();
  reserve(keyPath, 0o600);
  try {
    reserve(certPath, 0o644);
    try {
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      // On disk before it is certified: a certificate whose key is lost is of use to nobody.
      save(keyPath, privateKey.export({ format: "pem", type: "pkcs8" }), "nothing was asked of the CA");
      const issued = await client.call<IssuedCertificate>("POST", paths.certificates, {
        csr: Buffer.from(encodeCsr({ privateKey })).toString("base64"),
        attestation: { type: "operator", spiffeId, ...(flags.dns && { dnsNames: flags.dns }) },
        ...lifetime,
      } satisfies IssueRequest);
      save(certPath, issued.chain, `the certificate ${issued.serialNumber} was issued, but its key is removed again, so nobody can use it`);
      out.print(issued, `${issued.serialNumber}\n`);
      out.explain(
        `${spiffeId}\nis valid until ${minute(issued.notAfter)}.\n` +
          `Chain: ${certPath}\nKey:   ${keyPath} (readable by you alone)\n`,
      );
    } catch (error) {
      rmSync(certPath, { force: true });
      throw error;
    }
  } catch (error) {
    rmSync(keyPath, { force: true });
    throw error;
  }
}

function save(path: string, content: string | Buffer, otherwise: string): void {
  try {
    writeFileSync(path, content, { flush: true });
  } catch (cause) {
    throw new ApiError(`cannot write ${path} (${(cause as NodeJS.ErrnoException).code}); ${otherwise}`, { cause });
  }
}

/** Creates the file, never over one that is there: it may hold the only copy of a key. */
function reserve(path: string, mode: number): void {
  try {
    closeSync(openSync(path, "wx", mode));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== "EEXIST") throw new ApiError(`cannot write ${path} (${code})`, { cause });
    throw new ApiError(`${path} exists and is not overwritten; move it away or name another file`, { cause });
  }
}

/** Takes a serial number as openssl prints it, too: upper case, with colons. */
function certificatePath([serial, ...rest]: readonly string[]): string {
  noMore(rest);
  const given = required(serial, "the serial number", 'as "countersign certificate list" shows it');
  const plain = given
    .replace(/^serial=/, "")
    .replaceAll(":", "")
    .toLowerCase();
  if (!/^[0-9a-f]{1,40}$/.test(plain))
    throw new UsageError(
      `"${given}" is not a serial number: it has hex digits, as "countersign certificate list" shows it.`,
    );
  return `${paths.certificates}/${plain}`;
}

const usage = `countersign certificate: issue by hand, look at what was issued, explain any

  countersign certificate issue --id spiffe://TD/ns/shop/sa/cart \\
      --cert cart.pem --key cart.key [--dns NAME]... [--ttl 12h]
      makes a key here and has it certified; prints the serial number
  countersign certificate list [--id 'spiffe://TD/ns/shop/*']
      [--status valid|expired|revoked]
  countersign certificate show SERIAL
  countersign certificate revoke SERIAL [--reason keyCompromise]
${wrap(`reasons (RFC 5280): ${revocationReasons.join(", ")}`, "      ")}
  countersign certificate inspect FILE|HOST:PORT|-
      what it is, in plain words, and why it would be refused
${apiHelp}`;
