import { hash } from "node:crypto";
import { CeremonyError } from "./errors.ts";
import { readJson, requireMembers, type CeremonyKind, type Member } from "./request.ts";

/** What a ceremony leaves behind: who did what, when, with which key. */
export interface Transcript {
  /** SHA-256 of the request, hex. */
  readonly request: string;
  readonly kind: CeremonyKind;
  /** What the person was shown, in plain words, before they confirmed. */
  readonly shown: readonly string[];
  /** `kms:...`, `pkcs11:...` or `file`, and the SHA-256 of its SubjectPublicKeyInfo. */
  readonly key: string;
  readonly keyFingerprint: string;
  readonly operator: string;
  readonly host: string;
  /** By the clock of that machine, RFC 3339. */
  readonly signedAt: string;
  /** SHA-256 of the certificate, hex. */
  readonly result: string;
}

export interface CeremonyAnswer {
  readonly format: typeof answerFormat;
  /** PEM. */
  readonly result: string;
  readonly transcript: Transcript;
}

/**
 * Reads an answer. Whether it is the right one for anything is judged when it is taken.
 * @throws {CeremonyError} answer_malformed
 */
export function readAnswer(text: string): CeremonyAnswer {
  const value = readJson(text, "answer_malformed", "ceremony answer");
  if (value["format"] !== answerFormat) throw malformed(`its format is not ${answerFormat}`);
  requireMembers(value, [["format", "string"], ["result", "string"], ["transcript", "object"]], malformed);
  const transcript = value["transcript"] as Record<string, unknown> | null;
  if (transcript === null) throw malformed("it has no transcript");
  requireMembers(transcript, transcriptMembers, malformed);
  const { shown } = transcript;
  if (!Array.isArray(shown) || !shown.every((line) => typeof line === "string")) throw malformed("its transcript does not say what was shown");
  if (JSON.stringify(transcript).length > maxTranscriptChars) throw malformed(`its transcript is longer than ${maxTranscriptChars} characters`);
  return value as unknown as CeremonyAnswer;
}

/** Writes an answer as JSON that people can read, to be carried back. */
export function writeAnswer(answer: CeremonyAnswer): string {
  return `${JSON.stringify(answer, null, 2)}\n`;
}

/** SHA-256 of the transcript as it goes into the log, hex. */
export function hashTranscript(transcript: Transcript): string {
  return hash("sha256", JSON.stringify(transcript), "hex");
}

/** The transcript for people, to be printed and filed. */
export function describeTranscript(transcript: Transcript): string {
  const { request, shown, key, keyFingerprint, operator, host, signedAt, result } = transcript;
  const rows = [
    ["request", request], ["key", key], ["key's SHA-256", keyFingerprint], ["operator", operator], ["machine", host], ["signed at", signedAt],
    ["result's SHA-256", result], ["transcript's SHA-256", hashTranscript(transcript)],
  ] as const;
  return `Transcript of a key ceremony\n\n${shown.join("\n")}\n\n${rows.map(([name, value]) => `  ${name.padEnd(22)}${value}\n`).join("")}`;
}

function malformed(detail: string): CeremonyError {
  return new CeremonyError("answer_malformed", `this is no answer of a ceremony: ${detail}`);
}

export const answerFormat = "countersign.dev/ceremony-answer/1";
const transcriptMembers: readonly Member[] = [
  ["request", "string"], ["kind", "string"], ["shown", "object"], ["key", "string"], ["keyFingerprint", "string"], ["operator", "string"],
  ["host", "string"], ["signedAt", "string"], ["result", "string"],
];
/** It goes into the audit log whole. */
const maxTranscriptChars = 8 * 1024;
