import { readAnswer } from "../ceremony/answer.ts";
import type { AskDeps } from "../ceremony/ask.ts";
import { CeremonyError } from "../ceremony/errors.ts";
import { inspectRequest } from "../ceremony/inspect.ts";
import { isFingerprint, readRequest } from "../ceremony/request.ts";
import type { CliIo } from "./io.ts";

export interface ImportConfirmation {
  /** Of `--confirm`. */
  readonly given: string | undefined;
  /** Whether the operator says where a new root's key is, so that it is known whose it is. */
  readonly isKeyKnown: boolean;
  readonly isJson: boolean;
}

/**
 * Says what taking an answer does, by the request on record, and asks for a fingerprint: of the request, which the person brought to the
 * key; of a new root its own. Of all answers a root alone is signed by a key of which nothing is known here: whoever carries the answer, and
 * has read the request, could bring a root of their own, and every proxy would trust it. So a root is never taken unconfirmed, also
 * where there is no terminal.
 * @throws {CeremonyError} fingerprint_wrong | answer_malformed
 */
export async function confirmImport({ store, now }: Pick<AskDeps, "store" | "now">, text: string, { given, isKeyKnown, isJson }: ImportConfirmation, io: CliIo): Promise<void> {
  const { transcript } = readAnswer(text);
  const row = await store.ceremony(transcript.request);
  // Whoever takes it says what is wrong with it then.
  if (row !== undefined && row.closedAtMs === undefined) {
    const { shown } = await inspectRequest(readRequest(row.request).request, now().getTime());
    (isJson ? io.stderr : io.stdout)(`It is the answer to this request:\n\n${shown.join("\n")}\n\n`);
  }
  const isRoot = transcript.kind === "root";
  const typed = given ?? await io.ask?.(isRoot ? rootQuestion : question);
  if (typed === undefined) {
    if (!isRoot || isKeyKnown) return;
    throw new CeremonyError("fingerprint_wrong", 'there is no terminal to confirm at; give the fingerprint that "ceremony sign" printed as --confirm FINGERPRINT');
  }
  if (isFingerprint(typed, { id: isRoot ? transcript.result : transcript.request })) return;
  throw new CeremonyError("fingerprint_wrong", isRoot ? wrongRoot : wrongRequest);
}

const rootQuestion = 'Every proxy will trust this root. If it is the one you made, type the fingerprint that "ceremony sign" printed: ';
const question = "If this is what was agreed on and signed, type the fingerprint of its request: ";
const wrongRoot = 'that is not the fingerprint of this root, and nothing was changed; compare it with what "ceremony sign" printed: if you typed that, this is not the ' +
  "root that was made there";
const wrongRequest = "that is not the fingerprint of the request that this answers, and nothing was changed; \"countersign ceremony list\" shows the requests";
