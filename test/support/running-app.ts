import type { Hono } from "hono";
import { mediaType } from "../../ca/contract/headers.ts";
import type { Problem } from "../../ca/contract/problem.ts";
import type { Role } from "../../ca/contract/roles.ts";
import { createApp, type AppOptions } from "../../ca/http/app.ts";
import type { CaServices } from "../../ca/http/services.ts";
import { startTestCa, type TestCa, type TestCaOptions } from "./running-ca.ts";

/** The REST API over a real CA, called without a socket. */
export interface TestApp extends TestCa {
  readonly app: Hono;
  /** API tokens, one a role; the operator's scope is `spiffe://east/ns/shop/*`. */
  readonly tokens: Readonly<Record<Role, string>>;
  /** What the HTTP layer logged as errors. */
  readonly errors: readonly string[];
  call(method: string, path: string, options?: CallOptions): Promise<Answered>;
}

export interface CallOptions {
  readonly as?: Role;
  readonly json?: unknown;
  /** The body as it is, instead of `json`. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body, when it is JSON. */
  readonly json: Record<string, unknown>;
  /** The body, when it is a problem document. */
  readonly problem: Problem;
}

/** @param wrap  stands between the app and the CA */
export async function startTestApp(
  options: TestCaOptions & {
    readonly wrap?: (services: CaServices) => CaServices;
    readonly app?: Partial<AppOptions>;
  } = {},
): Promise<TestApp> {
  const running = await startTestCa(options);
  const { ca, admin } = running;
  const create = async (role: Role): Promise<string> =>
    (
      await ca.createToken(
        { type: "api", name: `test-${role}`, role, ...(role === "operator" && { scope: ["spiffe://east/ns/shop/*"] }) },
        admin,
      )
    ).token;
  const tokens = { admin: await create("admin"), operator: await create("operator"), auditor: await create("auditor") };
  const errors: string[] = [];
  const log = {
    isLevelEnabled: () => false,
    debug: () => undefined,
    error: (fields: object, message: string) => void errors.push(`${message} ${JSON.stringify(fields)}`),
  };
  const app = createApp(options.wrap?.(ca) ?? ca, {
    log,
    registry: ca.metrics.registry,
    denied: ca.metrics.denied,
    ...options.app,
  });

  async function call(
    method: string,
    path: string,
    { as, json, body, headers = {} }: CallOptions = {},
  ): Promise<Answered> {
    const content = body ?? (json === undefined ? undefined : JSON.stringify(json));
    const response = await app.request(path, {
      method,
      headers: {
        ...(as && { authorization: `Bearer ${tokens[as]}` }),
        ...(content !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      ...(content !== undefined && { body: content }),
    });
    const text = await textOf(response);
    const parsed =
      text !== "" && /json/.test(response.headers.get("content-type") ?? "")
        ? (JSON.parse(text) as Record<string, unknown>)
        : {};
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: parsed,
      problem: parsed as unknown as Problem,
    };
  }
  return { ...running, app, tokens, errors, call };
}

/** A stream of events has no end. */
async function textOf(response: Response): Promise<string> {
  if (response.headers.get("content-type") !== mediaType.eventStream) return response.text();
  await response.body?.cancel();
  return "";
}
