import { pino, type Logger } from "pino";
import type { CaConfig } from "../config/config.ts";

/** JSON lines on standard error; nothing secret is put into a field, and what looks like it is blanked all the same. */
export function caLogger({ logLevel }: Pick<CaConfig, "logLevel">): Logger {
  return pino(
    {
      level: logLevel,
      base: undefined,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: redactedFields, censor: "[redacted]" },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

const redactedFields = [
  "token",
  "secret",
  "authorization",
  "bootstrap",
  "csr",
  "proof",
  "privateKey",
  "passphrase",
].flatMap((name) => [name, `*.${name}`]);
