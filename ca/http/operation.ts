import type { Context, Handler } from "hono";
import type { z } from "@hono/zod-openapi";
import type { ProblemCode } from "../contract/problem.ts";
import { Refusal } from "../refusal.ts";
import { answerProblem, isInternal } from "./problem.ts";
import { toResponse, type Answer } from "./answer.ts";
import type { RateLimits } from "../rate-limits.ts";
import { clientAddress } from "./address.ts";
import { access, admit, authenticate, type Access, type Authenticated, type RouteName } from "./authenticate.ts";
import { readJson, readText } from "./body.ts";
import type { Caller, CaServices } from "./services.ts";
import { vouchedCaller } from "./vouched.ts";

/** One route: what the OpenAPI document says of it, and the function that answers it. */
export interface Operation<Params = unknown, Query = unknown, Body = unknown> {
  readonly route: RouteName;
  readonly tag: "certificates" | "revocations" | "tokens" | "operators" | "policies" | "traffic" | "trust" | "federation" | "status" | "audit" | "operations";
  readonly summary: string;
  readonly description: string;
  readonly params?: z.ZodType<Params>;
  readonly query?: z.ZodType<Query>;
  readonly headers?: z.ZodType;
  readonly body?: { readonly schema: z.ZodType<Body>; readonly example: NoInfer<Body> };
  /** The answer when all went well, by status; a media type without a schema is text. */
  readonly success: {
    readonly status: number;
    readonly description: string;
    readonly content?: Readonly<Record<string, z.ZodType | undefined>>;
  };
  /** Codes beside those that every route of its kind has (`documentedCodes`). */
  readonly refusals?: readonly ProblemCode[];
  /** Instead of the setting, where more is needed. */
  readonly bodyLimitBytes?: number;
  /** A method, so that an operation of any shape is an Operation; what comes in has passed the schemas above. */
  handle(input: Input<Params, Query, Body>): Answer | Promise<Answer>;
}

export interface Input<Params, Query, Body> {
  readonly request: Request;
  readonly caller: Caller | undefined;
  /** Whose share of what is meant for strangers this takes from (`clientAddress`). */
  readonly address: string;
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
}

/** Gives an operation's handler the types of its schemas. */
export function operation<Params, Query, Body>(definition: Operation<Params, Query, Body>): Operation {
  return definition;
}

/** What the pipeline around every handler needs. */
export interface PipelineOptions {
  readonly bodyLimitBytes: number;
  readonly log: RequestLog;
  /** Unique for each request and free of meaning. */
  readonly nextRequestId: () => string;
  /** Proxies before us whose X-Forwarded-For is believed; default 0. */
  readonly forwarders?: number | undefined;
  /** Counts refusals by code. */
  readonly denied?: (code: ProblemCode) => void;
}

/** The part of pino's logger that requests need. */
export interface RequestLog {
  isLevelEnabled(level: string): boolean;
  debug(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/**
 * The one handler of a route: authenticate, parse, handle, answer. Hono calls a single handler without composing a
 * chain, which is why these steps are calls and not middleware.
 */
export function pipeline(definition: Operation, services: CaServices, options: PipelineOptions): Handler {
  const { route, params, query, body } = definition;
  const rule = access[route];
  const { method, path } = splitRoute(route);
  const { bodyLimitBytes = options.bodyLimitBytes } = definition;

  async function readInput(context: Context, caller: Caller | undefined, address: string, bodyText: string | undefined): Promise<Input<unknown, unknown, unknown>> {
    try {
      return {
        request: context.req.raw, caller, address,
        params: params === undefined ? undefined : parse(params, context.req.param()),
        query: query === undefined ? undefined : parse(query, context.req.query()),
        body: body === undefined ? undefined : parse(body.schema, await readJson(context.req.raw, bodyLimitBytes, bodyText)),
      };
    } catch (error) {
      // Where who asks is in the body, nobody has been counted yet.
      throw (rule === "attested" && caller === undefined && error instanceof Refusal ? services.limits.anonymous() : undefined) ?? error;
    }
  }

  return async (context: Context): Promise<Response> => {
    const startedMs = options.log.isLevelEnabled("debug") ? performance.now() : 0;
    const requestId = options.nextRequestId();
    const request = context.req.raw;
    const address = clientAddress(context.env, options.forwarders, request.headers.get("x-forwarded-for"));
    let answer: Answer;
    let caller: Caller | undefined;
    let recordsItself = false;
    let bodyText: string | undefined;
    try {
      const vouched = vouchedCaller(context.env);
      const authenticated = vouched !== undefined ? admit(rule, vouched) : await authenticate(services, rule, request.headers.get("authorization"), async () => {
        const { pathname, search } = new URL(request.url);
        bodyText = await readText(request, bodyLimitBytes);
        return { method: request.method, target: pathname + search, body: bodyText };
      });
      caller = authenticated.caller;
      const denial = excessOf(services.limits, rule, authenticated, address) ?? authenticated.refusal;
      if (denial !== undefined) throw denial;
      await authenticated.spend?.();
      // Issuing writes its denials itself: it knows more of them.
      recordsItself = route === "POST /v1/certificates";
      answer = await definition.handle(await readInput(context, caller, address, bodyText));
    } catch (error) {
      if (!recordsItself && isDenial(error, caller)) services.recordDenial({ code: error.code, method, path, actor: caller?.actor ?? "anonymous" });
      answer = refuse(error, requestId, `${method} ${path}`, options);
    }
    if (startedMs !== 0) {
      const durationMs = Math.round((performance.now() - startedMs) * 1000) / 1000;
      options.log.debug({ requestId, method: request.method, path, status: answer.status, durationMs }, "request");
    }
    return toResponse(answer, requestId, request);
  };
}

/** Whether this comes too often from whoever it comes from. Without a token an attested route finds out later who asks. */
function excessOf(limits: RateLimits, rule: Access, { caller, refusal }: Authenticated, address: string): Refusal | undefined {
  if (rule === "feed") return caller === undefined ? limits.stranger(address) : limits.follower(caller);
  if (caller !== undefined) return limits.caller(caller);
  return rule === "public" || refusal !== undefined ? limits.anonymous() : undefined;
}

/** Strangers in excess are counted by the metric alone: they must not crowd out what is recorded of other strangers. */
function isDenial(error: unknown, caller: Caller | undefined): error is Refusal {
  if (!(error instanceof Refusal)) return false;
  return denialCodes.has(error.code) || (error.code === "rate_limited" && caller !== undefined);
}

/** The answer to an error, logged when it is our own fault and counted when it is not. */
export function refuse(error: unknown, requestId: string, route: string, { log, denied }: PipelineOptions): Answer {
  if (isInternal(error)) log.error({ requestId, route, err: error }, "request failed");
  const answer = answerProblem(error, requestId);
  denied?.(answer.code);
  return answer;
}

/** `POST /v1/x/{y}` apart. */
export function splitRoute(route: RouteName): { readonly method: string; readonly path: string } {
  const [method = "", path = ""] = route.split(" ");
  return { method, path };
}

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const sentences = result.error.issues
    .slice(0, maxIssues)
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join(".")}: ${message}`));
  // Messages repeat the names of members that are not known, which come from the caller.
  const detail = sentences.join("; ").slice(0, maxDetailLength);
  throw new Refusal("invalid_request", `${detail}. The API is described at /docs.`);
}

/** Enough to correct a request by; the rest usually follows from the first. */
const maxIssues = 3;
const maxDetailLength = 400;
const denialCodes: ReadonlySet<ProblemCode> = new Set(["unauthenticated", "forbidden", "proof_refused", "certificate_expired", "certificate_revoked"]);
