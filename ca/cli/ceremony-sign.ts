import { writeFileSync } from "node:fs";
import { hostname, userInfo } from "node:os";
import { describeTranscript, writeAnswer } from "../ceremony/answer.ts";
import { CeremonyError } from "../ceremony/errors.ts";
import { fingerprintOf } from "../ceremony/request.ts";
import { holdCeremony } from "../ceremony/sign.ts";
import { readConfig, type CaConfig } from "../config/config.ts";
import { parseRootKey } from "../config/values.ts";
import { createSecretFile, readSecretFile } from "../signer/key-file.ts";
import { kmsSigner, openKms } from "../signer/kms.ts";
import { pkcs11PublicKey, pkcs11Signer } from "../signer/pkcs11.ts";
import { parsePkcs11Uri } from "../signer/pkcs11-uri.ts";
import { openPrivateKey, sealPrivateKey } from "../signer/sealed-key.ts";
import type { Signer } from "../signer/signer.ts";
import { generatePrivateKey, softwareSigner } from "../signer/software.ts";
import { noMore, readArguments, required, UsageError } from "./arguments.ts";
import { explainedCeremony, readWholeFile, refuseExisting } from "./ceremony-files.ts";
import { ceremonyUsage } from "./ceremony-usage.ts";
import type { CliIo } from "./io.ts";

/**
 * `countersign ceremony sign`: on the machine with the root's key.
 * @returns the exit code: 0 signed, 1 refused and nothing was signed
 * @throws {UsageError}
 */
export async function ceremonySign(args: readonly string[], io: CliIo): Promise<number> {
  const { values: options, positionals: [path, ...more] } = readArguments(args, signOptions);
  if (options.help) {
    io.stdout(ceremonyUsage);
    return 0;
  }
  noMore(more);
  const requestPath = required(path, "the request's file", "root.request");
  const outPath = required(options.out, "--out", "root.answer");
  const key = required(options.key, "--key", "root.key");
  const transcriptPath = `${outPath}.transcript.txt`;
  return explainedCeremony(io, async () => {
    refuseExisting(outPath);
    refuseExisting(transcriptPath);
    const config = readConfig({ env: io.env });
    const answer = await holdCeremony({
      text: readWholeFile(requestPath), nowMs: Date.now(), operator: options.operator ?? userInfo().username, host: hostname(),
      confirm: (shown) => confirm(shown, options.confirm, io),
      openKey: () => openKey(key, options, config, io),
    });
    write(outPath, writeAnswer(answer));
    write(transcriptPath, describeTranscript(answer.transcript));
    io.stdout(`Signed. Bring ${outPath} back to the CA; print and file ${transcriptPath}.\n`);
    const { kind, result } = answer.transcript;
    if (kind === "root") io.stdout(`Bring the root's fingerprint on paper or by voice, not in the same bag:\n\n  ${fingerprintOf({ id: result })}\n`);
  });
}

async function confirm(shown: readonly string[], given: string | undefined, io: CliIo): Promise<string> {
  io.stdout(`${shown.join("\n")}\n\n`);
  if (given !== undefined) return given;
  if (io.ask === undefined) {
    throw new CeremonyError(
      "fingerprint_wrong", "there is no terminal to confirm at; give the fingerprint that the CA printed as --confirm FINGERPRINT",
    );
  }
  return io.ask("If this is what was agreed on, type the fingerprint that the CA printed: ");
}

async function openKey(
  text: string, options: Options, config: CaConfig, io: CliIo,
): Promise<{ readonly signer: Signer; readonly location: string }> {
  const key = parseRootKey(text);
  switch (key?.kind) {
    case "kms": {
      const kms = openKms({ endpoint: config.kmsEndpoint, region: config.kmsRegion });
      const { arn, spki } = await kms.publicKey(key.keyId);
      return { signer: kmsSigner(kms, arn, spki), location: `kms:${arn}` };
    }
    case "pkcs11": {
      const uri = parsePkcs11Uri(key.uri);
      const pinned = { pin: config.pkcs11Pin };
      return { signer: pkcs11Signer(uri, await pkcs11PublicKey(uri, pinned), pinned), location: key.uri };
    }
    case "file": {
      const open = options["create-key"] === undefined ? openFile : createFile;
      return { signer: softwareSigner(await open(key.path, options, io)), location: "file" };
    }
    default:
      throw new UsageError("--key is the path of a sealed key file, kms:KEY-ID or pkcs11:...");
  }
}

async function openFile(path: string, options: Options, io: CliIo) {
  const text = readSecretFile(path);
  if (text === undefined) throw new CeremonyError("file_unusable", `there is no key file ${path}; a new one is made with --create-key ec-p384`);
  return openPrivateKey(text, await passphrase(options, io, [`Passphrase of ${path}: `]));
}

/** The key is on disk before it signs anything: a root without its key would be worthless. */
async function createFile(path: string, options: Options, io: CliIo) {
  const algorithm = options["create-key"];
  if (algorithm !== "ec-p256" && algorithm !== "ec-p384") throw new UsageError("--create-key is ec-p256 or ec-p384.");
  refuseExisting(path);
  const privateKey = generatePrivateKey(algorithm);
  const sealed = await sealPrivateKey(privateKey, await passphrase(options, io, [`New passphrase for ${path}: `, "The same again: "]));
  if (!createSecretFile(path, sealed)) throw new CeremonyError("file_unusable", `${path} exists already; choose another name`);
  return privateKey;
}

/** From a file of its owner's alone or from the terminal: a command line is readable by every process. */
async function passphrase(options: Options, io: CliIo, questions: readonly string[]): Promise<string> {
  const path = options["passphrase-file"];
  if (path !== undefined) {
    const text = readSecretFile(path)?.replace(/\r?\n$/, "");
    if (text === undefined || text === "") throw new CeremonyError("file_unusable", `there is no passphrase in ${path}`);
    return text;
  }
  if (io.ask === undefined) {
    throw new CeremonyError("file_unusable", "there is no terminal to ask for the passphrase at; give --passphrase-file FILE");
  }
  const answers: string[] = [];
  for (const question of questions) answers.push(await io.ask(question, { secret: true }));
  if (new Set(answers).size !== 1) throw new CeremonyError("file_unusable", "the two passphrases differ; nothing was written");
  return answers[0] ?? "";
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: "wx", mode: 0o644, flush: true });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CeremonyError("file_unusable", `it was signed, but ${path} cannot be written (${code}); sign once more into another file`, { cause });
  }
}

const signOptions = {
  key: { type: "string" }, out: { type: "string" }, confirm: { type: "string" }, operator: { type: "string" },
  "passphrase-file": { type: "string" }, "create-key": { type: "string" },
} as const;
type Options = ReturnType<typeof readArguments<typeof signOptions>>["values"];
