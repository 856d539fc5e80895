import { setImmediate } from "node:timers/promises";
import { mediaType } from "../contract/headers.ts";
import { paths } from "../contract/paths.ts";
import type { Problem, ProblemCode } from "../contract/problem.ts";
import type { Readiness } from "../contract/vitals.ts";
import type { Caller } from "../http/services.ts";
import { vouchFor } from "../http/vouched.ts";

/** The API, as a caller who is signed in has it: each page is made of its answers, so none shows or does more than their role may. */
export interface Ask {
  /**
   * The answer to a JSON request.
   * @throws {AskError}
   */
  call<T>(method: "GET" | "POST" | "DELETE", path: string, body?: unknown): Promise<T>;
  /** The same, and undefined where the caller's role may not. */
  maybe<T>(path: string): Promise<T | undefined>;
  /** A public document as text. @throws {AskError} */
  fetchPublic(path: string): Promise<string>;
  readiness(): Promise<Readiness>;
}

/** The app's own entry (Hono's `fetch`). */
export type AppFetch = (request: Request, env: object) => Response | Promise<Response>;

/** What the API declined: `message` is the problem's detail. */
export class AskError extends Error {
  override readonly name = "AskError";
  readonly status: number;
  readonly code: ProblemCode;

  constructor({ status, code, detail }: Problem) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** Asks within this process, for a caller that is authenticated: access, scope, rate and audit are those of the API. */
export function askFor(caller: Caller, fetchApp: AppFetch): Ask {
  async function answered(method: string, path: string, body?: unknown): Promise<Response> {
    const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": mediaType.json } };
    // Nothing of it waits for a socket: a page of a hundred answers would be the only thing that is done meanwhile.
    await setImmediate();
    return fetchApp(new Request(new URL(path, origin), { method, ...json }), vouchFor(caller));
  }
  async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await answered(method, path, body);
    if (!response.ok) throw new AskError((await response.json()) as Problem);
    return (response.status === 204 ? undefined : await response.json()) as T;
  }
  return {
    call,
    async maybe(path) {
      try {
        return await call("GET", path);
      } catch (error) {
        if (error instanceof AskError && error.code === "forbidden") return undefined;
        throw error;
      }
    },
    async fetchPublic(path) {
      const response = await answered("GET", path);
      if (!response.ok) throw new AskError((await response.json()) as Problem);
      return response.text();
    },
    readiness: async () => (await (await answered("GET", paths.readyz)).json()) as Readiness,
  };
}

/** Never resolved: only the path of it is looked at. */
const origin = "https://dashboard.invalid";
