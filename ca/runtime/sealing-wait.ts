import { setTimeout as sleep } from "node:timers/promises";
import { createRoot } from "../authority/create.ts";
import { mediaType } from "../contract/headers.ts";
import type { Readiness } from "../contract/vitals.ts";
import { problemAnswer } from "../http/problem.ts";
import type { Log } from "../log.ts";
import { encodePem } from "../pki/pem.ts";
import { SignerError } from "../signer/errors.ts";
import type { Kms } from "../signer/kms.ts";
import type { Listener } from "./listener.ts";

export interface SealingWaitDeps {
  /** For each start its own, which it closes if it fails. */
  readonly openKms: () => Kms;
  readonly listener: Listener;
  readonly log: Log;
  /** Resolves when the process is asked to end. */
  readonly stopping: Promise<unknown>;
}

/**
 * Starts the CA, and starts it again while KMS does not unwrap the sealing key: after 1 s, 2 s and so on up to 30 s, each cut by up to half
 * at random, for an hour at most. Meanwhile, and while KMS leaves a start without an answer, it is alive, not ready, and refuses everything
 * else with `sealing_key_unavailable`, under a certificate that nobody trusts, since its own needs the key. Other replicas go on with what
 * they opened.
 * @throws {SignerError} sealing_key_unavailable after an hour, or when it is asked to stop; and whatever else keeps it from starting
 */
export async function startWhenUnsealed<T>(start: (kms: Kms) => Promise<T>, { openKms, listener, log, stopping }: SealingWaitDeps): Promise<T> {
  const ending = new AbortController();
  void stopping.then(() => ending.abort());
  const startedAtMs = performance.now();
  const { port } = listener;
  let answers = false;

  function answer(): void {
    if (!answers) answerSealed(listener);
    answers = true;
  }

  /** What hangs is not known to have failed until its last attempt is over, which takes a minute and a half. */
  async function startPatiently(): Promise<T> {
    const kms = openKms();
    const giveUp = (): void => void (kms.asking() !== undefined && kms.close());
    const saying = setInterval(() => {
      const waitsFor = kms.asking();
      if (waitsFor === undefined) return;
      answer();
      log.warn({ waitsFor, seconds: Math.round((performance.now() - startedAtMs) / 1000), port }, "the CA is starting and waits for KMS, which does not answer; is it reachable from here?");
    }, sayEveryMs);
    ending.signal.addEventListener("abort", giveUp);
    try {
      return await start(kms);
    } finally {
      clearInterval(saying);
      ending.signal.removeEventListener("abort", giveUp);
    }
  }

  for (let attempt = 0; ; attempt++) {
    try {
      return await startPatiently();
    } catch (error) {
      if (!(error instanceof SignerError) || error.code !== "sealing_key_unavailable") throw error;
      if (ending.signal.aborted || performance.now() - startedAtMs > maxWaitMs) throw error;
      answer();
      log.error({ err: error, port }, "the sealing key cannot be had, so the CA cannot start; it is tried again");
      const delayMs = Math.min(firstDelayMs * 2 ** attempt, maxDelayMs) * (1 - Math.random() / 2);
      await sleep(delayMs, undefined, { signal: ending.signal }).catch(() => undefined);
      if (ending.signal.aborted) throw error;
    }
  }
}

function answerSealed(listener: Listener): void {
  const { privateKey, certificate } = createRoot({ trustDomain: "sealed.invalid", keyAlgorithm: "ec-p256", lifetimeMs: 2 * maxWaitMs, clockSkewMs: 60_000, nowMs: Date.now() });
  listener.present({ key: privateKey.export({ format: "pem", type: "pkcs8" }).toString(), chain: encodePem("CERTIFICATE", certificate.der) });
  listener.serve(answerWhileSealed);
}

/** What a CA says that cannot open its keys yet. */
export function answerWhileSealed(request: Request): Response {
  const { pathname } = new URL(request.url);
  if (pathname === "/healthz") return new Response("ok\n", { headers: { "content-type": "text/plain; charset=utf-8" } });
  if (pathname === "/readyz") {
    const state: Readiness = { ready: false, reasons: [sentence] };
    return new Response(JSON.stringify(state), { status: 503, headers: { "content-type": mediaType.json } });
  }
  const { status, body, contentType } = problemAnswer("sealing_key_unavailable", `${sentence} Try again, or ask another replica.`);
  return new Response(body, { status, headers: { "content-type": contentType, "retry-after": String(maxDelayMs / 1000) } });
}

const sentence = "This CA is starting and waits for KMS, without which it cannot use its private keys; the CA's log says what it asks, and it is tried again.";
/** KMS answers in 50-300 ms. */
const sayEveryMs = 3000;
const firstDelayMs = 1000;
const maxDelayMs = 30_000;
/** Longer than KMS was ever away; an orchestrator that starts the CA again begins anew. */
const maxWaitMs = 3_600_000;
