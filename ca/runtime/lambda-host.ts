import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { startCa, type Ca } from "../ca.ts";
import type { CaConfig } from "../config/config.ts";
import { createApp } from "../http/app.ts";
import { plainResponse } from "../http/plain.ts";
import { answerProblem } from "../http/problem.ts";
import { caMetrics } from "../metrics.ts";
import { Refusal } from "../refusal.ts";
import { ConfigError } from "../settings/errors.ts";
import { SignerError } from "../signer/errors.ts";
import { isPostgresUrl } from "../store/store-url.ts";
import { openPostgres } from "../store/postgres.ts";
import { settlingStore, type SettlingStore } from "../store/settling.ts";
import { parseFrontEndEvent, type FrontEndAnswer, type FrontEndRequest } from "./lambda-event.ts";
import { checkWitnesses, recordRollbacks } from "./witness.ts";

/** The CA in a function: it starts before the first request or with it, serves one at a time, and is whole in the database after each. */
export interface LambdaHost {
  /** Opens the CA, if it can be opened within the time there is before the first request. Never rejects: the request tries again, and says why. */
  prepare(): Promise<void>;
  /**
   * A request of a front end, `{ "countersign": "maintenance" }` or an event of a schedule, or, once, `{ "countersign": "first-start" }`.
   * @param deadlineMs  milliseconds since the epoch at which Lambda ends the process
   * @throws {Error} for any other event, and where maintenance or the first start fail
   */
  invoke(event: unknown, deadlineMs: number): Promise<unknown>;
}

/** What a first start answers to who invoked it, and to nobody else. */
export interface FirstStartAnswer {
  readonly adminToken: string;
  readonly rootFingerprint: string;
  readonly rootPem: string;
  /** C2SP verifier key of the audit log. */
  readonly verifierKey: string;
}

/** The store was filled, and what came next failed: the token is given all the same, since nobody else has it. */
export interface UnfinishedStartAnswer {
  readonly adminToken: string;
  readonly unfinished: string;
}

/** @throws {ConfigError} value_refused where store or sealing key would be on a function's disk, on which nothing stays */
export function lambdaHost(config: CaConfig, log: Logger): LambdaHost {
  if (!isPostgresUrl(config.storeUrl)) {
    throw new ConfigError("value_refused", "store is refused: a function keeps nothing on its disk; name a Postgres, e.g. postgres://user@host/database");
  }
  if (config.sealingKmsKey === undefined && config.sealingKey === undefined) {
    throw new ConfigError("value_refused", "sealing is refused: a function keeps no file; write sealing=kms:KEY-ID");
  }
  let opened: Promise<OpenCa> | undefined;

  function open(saveAdminToken?: (token: string) => void): Promise<OpenCa> {
    return (opened ??= openOnDemand(config, log, saveAdminToken).catch((error: unknown) => {
      // The next request tries again.
      opened = undefined;
      throw error;
    }));
  }

  async function answer({ request, clientIp, ...frontEnd }: FrontEndRequest): Promise<FrontEndAnswer> {
    const response = await open().then(
      ({ ca, app, settle }) => served(ca, settle, () => app.fetch(request, { clientIp })),
      (error: unknown) => answerUnopened(request, error, log),
    );
    const body = new Uint8Array(await response.arrayBuffer());
    if (body.length <= frontEnd.maxBodyBytes) return frontEnd.answer(response, body);
    log.error({ path: new URL(request.url).pathname, bytes: body.length }, "an answer is larger than the front end takes; ask for a part of it");
    const [refused, refusedBody] = problem(new Error("answer too large"));
    return frontEnd.answer(refused, refusedBody);
  }

  async function maintain(deadlineMs: number): Promise<object> {
    const { ca, settle } = await open();
    const leftMs = Math.max(0, deadlineMs - Date.now() - reserveMs);
    return served(ca, settle, () => ca.onDemand.maintain(performance.now() + leftMs));
  }

  async function firstStart(): Promise<FirstStartAnswer | UnfinishedStartAnswer> {
    if (opened !== undefined) throw new Error(alreadyStarted);
    if (config.rootKey.kind === "offline") throw new ConfigError("value_refused", beginsWithCeremony);
    let adminToken: string | undefined;
    const started = await open((token) => (adminToken = token)).catch((error: unknown) => {
      if (adminToken === undefined) throw error;
      log.error({ err: error }, "the first start did not end well");
      return (error as Error).message;
    });
    if (typeof started === "string") return { adminToken: adminToken!, unfinished: started };
    const { ca, settle } = started;
    const { firstStart: first, verifierKey } = ca;
    if (first === undefined) throw new Error(alreadyStarted);
    return served(ca, settle, async () => ({ adminToken: first.adminToken, rootFingerprint: first.rootFingerprint, rootPem: ca.bundle().pem, verifierKey }));
  }

  return {
    async prepare() {
      const isOver = new AbortController();
      // While the database and KMS are waited for: whatever is asked first, it wants schemas.
      const opens = Promise.all([open(), import("../http/issuing.ts")]).catch(() => undefined).finally(() => isOver.abort());
      await Promise.race([opens, sleep(maxPrepareMs, undefined, { signal: isOver.signal }).catch(() => undefined)]);
    },
    async invoke(event, deadlineMs) {
      const frontEnd = parseFrontEndEvent(event);
      if (frontEnd !== undefined) return answer(frontEnd);
      const { countersign, source } = (event ?? {}) as { readonly countersign?: unknown; readonly source?: unknown };
      if (countersign === "maintenance" || source === "aws.events" || source === "aws.scheduler") return maintain(deadlineMs);
      if (countersign === "first-start") return firstStart();
      throw new Error('this event is none of a Function URL, an API Gateway, an ALB or a schedule; send { "countersign": "maintenance" } or { "countersign": "first-start" }');
    },
  };
}

interface OpenCa {
  readonly ca: Ca;
  readonly app: ReturnType<typeof createApp>;
  /** Resolves when the process may stop. */
  settle(): Promise<void>;
}

async function openOnDemand(config: CaConfig, log: Logger, saveAdminToken?: (token: string) => void): Promise<OpenCa> {
  const metrics = caMetrics();
  const store: SettlingStore = settlingStore(await openPostgres({ url: config.storeUrl, onDemand: true, onLocked: metrics.storeLocked }));
  try {
    if (saveAdminToken === undefined && (await store.state()) === undefined) throw new NotStarted();
    const accepted = await checkWitnesses(store, config);
    const ca = await startCa({ config, store, log, metrics, onDemand: true, ...(saveAdminToken && { saveAdminToken }) });
    await recordRollbacks(store, accepted, Date.now());
    const app = createApp(ca, { log, registry: metrics.registry, denied: metrics.denied, bodyLimitBytes: config.bodyLimitBytes, forwarders: config.forwarders });
    return {
      ca, app,
      async settle() {
        await ca.onDemand.settle();
        await store.settled();
      },
    };
  } catch (error) {
    await store.close().catch((err: unknown) => log.error({ err }, "closing failed"));
    throw error;
  }
}

async function served<T>(ca: Ca, settle: () => Promise<void>, act: () => T | Promise<T>): Promise<T> {
  await ca.onDemand.attend();
  try {
    return await act();
  } finally {
    await settle();
  }
}

/** What is said while the CA cannot be opened; the log says why. */
function answerUnopened(request: Request, error: unknown, log: Logger): Response {
  log.error({ err: error }, "the CA could not be opened for a request; the next one tries again");
  if (new URL(request.url).pathname === "/healthz") return plainResponse(200, { "content-type": "text/plain; charset=utf-8" }, "ok\n");
  if (error instanceof NotStarted) return problem(new Refusal("issuer_unavailable", error.message))[0];
  if (error instanceof SignerError && error.code === "sealing_key_unavailable") return problem(new Refusal(error.code, unsealed))[0];
  return problem(error)[0];
}

function problem(error: unknown): readonly [Response, Uint8Array] {
  const { status, body, contentType = "", headers } = answerProblem(error, "unopened");
  return [plainResponse(status, { ...headers, "content-type": contentType, "cache-control": "no-store" }, body), Buffer.from(body)];
}

class NotStarted extends Error {
  override readonly name = "NotStarted";

  constructor() {
    super('This CA has not been started for the first time: its operator invokes the function with { "countersign": "first-start" }.');
  }
}

const unsealed = "KMS does not unwrap the key that opens this CA's private keys; the CA's log says why. Try again.";
const beginsWithCeremony = "the root's key is offline: such a CA begins with countersign ceremony request root, on a machine that reaches its store, which leaves the admin token there";
const alreadyStarted = "this CA was started before: its admin token was given to whoever did";
/** Of an invocation's time, for what is under way when it ends. */
const reserveMs = 2_000;
/** Of the 10 s that Lambda gives an INIT, after which it would begin again. @source AWS Lambda Developer Guide, "Init phase" */
const maxPrepareMs = 8_000;
