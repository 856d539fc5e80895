import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { paths, revocationReasons, type CertificateDetail, type CertificatePage, type IssuedCertificate, type Revocation } from "../contract.ts";
import { encodeCsr } from "../pki/csr.ts";
import { api, apiHelp, apiOptions, ApiError } from "./api.ts";
import { readArguments, required, seconds, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { table } from "./table.ts";

/** `countersign certificate issue|list|show|revoke`. */
export async function certificate(args: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals: [action, serial] } = readArguments(args, {
    ...apiOptions,
    id: { type: "string" }, dns: { type: "string", multiple: true }, ttl: { type: "string" }, cert: { type: "string" }, key: { type: "string" },
    status: { type: "string" }, reason: { type: "string", default: "unspecified" },
  });
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  const client = api(values, io);
  const json = values.output === "json";
  const print = (value: unknown, text: string) => io.stdout(json ? `${JSON.stringify(value, null, 2)}\n` : text);
  const named = () => `${paths.certificates}/${encodeURIComponent(required(serial, "the serial number", "as \"countersign certificate list\" shows it"))}`;
  switch (action) {
    case "issue": {
      const spiffeId = required(values.id, "--id", "spiffe://countersign.local/ns/shop/sa/cart");
      const [certPath, keyPath] = [required(values.cert, "--cert", "cart.pem"), required(values.key, "--key", "cart.key")];
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      writeNew(keyPath, privateKey.export({ format: "pem", type: "pkcs8" }) as string, 0o600);
      const issued = await client.call<IssuedCertificate>("POST", paths.certificates, {
        csr: Buffer.from(encodeCsr({ privateKey })).toString("base64"),
        attestation: { type: "operator", spiffeId, ...(values.dns && { dnsNames: values.dns }) },
        ...(values.ttl !== undefined && { lifetimeSeconds: seconds(values.ttl, "--ttl") }),
      });
      writeNew(certPath, issued.chain, 0o644);
      print(issued, `${issued.serialNumber}\n`);
      if (!json) io.stderr(`${spiffeId}, valid until ${issued.notAfter}; chain in ${certPath}, key in ${keyPath} (readable by you alone).\n`);
      return 0;
    }
    case "list": {
      const query = new URLSearchParams({ limit: "1000", ...(values.id && { spiffeId: values.id }), ...(values.status && { status: values.status }) });
      const page = await client.call<CertificatePage>("GET", `${paths.certificates}?${query}`);
      print(page.certificates, table(["SERIAL NUMBER", "STATUS", "UNTIL", "ID"], page.certificates.map((row) => [
        row.serialNumber, row.status, `${row.notAfter.slice(5, 16).replace("T", " ")}Z`, row.spiffeId.replace(/^spiffe:\/\//, ""),
      ])));
      if (page.nextCursor !== undefined) io.stderr("There are more; these are the newest 1000. Narrow it with --id or --status.\n");
      return 0;
    }
    case "show": {
      const detail = await client.call<CertificateDetail>("GET", named());
      const { chain, ...facts } = detail;
      print(detail, `${Object.entries(facts).map(([name, value]) => `${name.padEnd(18)}${String(value)}\n`).join("")}\n${chain}`);
      return 0;
    }
    case "revoke": {
      if (!(revocationReasons as readonly string[]).includes(values.reason)) {
        throw new UsageError(`--reason is one of ${revocationReasons.join(", ")}, not ${values.reason}.`);
      }
      const revocation = await client.call<Revocation>("POST", `${named()}/revoke`, { reason: values.reason });
      print(revocation, `${serial} is revoked (${revocation.reason}); proxies refuse it from their next poll on.\n`);
      return 0;
    }
    default:
      throw new UsageError(`there is no "certificate ${action}"; there are issue, list, show and revoke.`);
  }
}

/** Never over a file that is there: it may hold the only copy of a key. */
function writeNew(path: string, text: string, mode: number): void {
  try {
    writeFileSync(path, text, { mode, flag: "wx" });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new ApiError(code === "EEXIST" ? `${path} exists and is not overwritten; move it away or name another file` : `cannot write ${path} (${code})`, { cause });
  }
}

const usage = `countersign certificate: issue by hand, and look at what was issued

  countersign certificate issue --id spiffe://TD/ns/shop/sa/cart \\
      --cert cart.pem --key cart.key [--dns NAME]... [--ttl 12h]
  countersign certificate list [--id spiffe://TD/ns/shop/*] [--status valid]
  countersign certificate show SERIAL
  countersign certificate revoke SERIAL [--reason keyCompromise]
      reasons (RFC 5280): ${revocationReasons.slice(0, 4).join(", ")},
      ${revocationReasons.slice(4).join(", ")}
${apiHelp}`;
