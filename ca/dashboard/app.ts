import { Hono, type Context } from "hono";
import { problemStatus } from "../contract/problem.ts";
import { toResponse, type Answer } from "../http/answer.ts";
import { clientAddress } from "../http/address.ts";
import { readText } from "../http/body.ts";
import { isInternal, problemAnswer } from "../http/problem.ts";
import type { RequestLog } from "../http/operation.ts";
import type { Caller, CaServices } from "../http/services.ts";
import { Refusal } from "../refusal.ts";
import { AskError, askFor, type AppFetch } from "./ask.ts";
import { assets } from "./assets.ts";
import { auditPage, entryPage } from "./audit.ts";
import { isOwnForm, readCookie, sessionCookie } from "./browser.ts";
import { certificatePage, revokeAction, revokePage } from "./certificate.ts";
import { edgesPage } from "./edges.ts";
import { federationPage, refreshAction } from "./federation.ts";
import { renderPage } from "./layout.ts";
import { liveStream } from "./live.ts";
import { overviewPage } from "./overview.ts";
import type { Action, Page, PageContext, Shown } from "./page.ts";
import { policiesPage } from "./policies.ts";
import { dashboardSessions } from "./sessions.ts";
import { linkPage, refusedPage, signInPage } from "./sign-in.ts";
import { trustPage } from "./trust.ts";
import { workloadsPage } from "./workloads.ts";

export interface DashboardOptions {
  /** The whole API: what pages ask. */
  readonly fetchApi: AppFetch;
  readonly log: RequestLog;
  readonly nextRequestId: () => string;
  /** Proxies before us whose X-Forwarded-For is believed; default 0. */
  readonly forwarders?: number | undefined;
}

/**
 * The dashboard: pages under /ui, each made of the API's answers to the caller who is signed in. It reads what a browser sends it and
 * knows who that is; everything else is the API's.
 */
export function dashboard(services: CaServices, { fetchApi, log, nextRequestId, forwarders }: DashboardOptions): AppFetch {
  const app = new Hono();
  const sessions = dashboardSessions(services);
  const { trustDomain } = services;

  async function html({ title, body, status = 200 }: Shown, requestId: string, caller?: Caller, section?: string): Promise<Response> {
    const page = await renderPage({ title, body, caller, section, trustDomain });
    return toResponse({ status, body: page, contentType: "text/html; charset=utf-8", headers: pageHeaders }, requestId);
  }

  function moved(to: string, requestId: string, headers: Readonly<Record<string, string>> = {}): Response {
    return toResponse({ status: 303, body: null, headers: { ...pageHeaders, ...headers, location: to } }, requestId);
  }

  async function failed(error: unknown, requestId: string, context: Context, caller?: Caller, section?: string): Promise<Response> {
    if (error instanceof AskError) return html(refusedPage(error.status, error.message), requestId, caller, section);
    if (error instanceof Refusal) return html(refusedPage(problemStatus[error.code], error.message), requestId, caller, section);
    if (isInternal(error)) log.error({ requestId, route: `${context.req.method} ${context.req.path}`, err: error }, "request failed");
    return html(refusedPage(500, `This page could not be made. The CA's log says why; the request is ${requestId}.`), requestId, caller, section);
  }

  /** What only who is signed in gets to. */
  function signedIn(section: string, handle: (context: PageContext, requestId: string) => Promise<Response>) {
    return async (context: Context): Promise<Response> => {
      const requestId = nextRequestId();
      let caller: Caller | undefined;
      try {
        caller = await sessions.callerOf(readCookie(context.req.raw));
        const { pathname, search } = new URL(context.req.url);
        if (caller === undefined) return moved(`/ui/sign-in?next=${encodeURIComponent(pathname + search)}`, requestId);
        const form = context.req.method === "POST" ? await readForm(context.req.raw) : new URLSearchParams();
        const query = new URLSearchParams(search);
        const params = context.req.param() as Readonly<Record<string, string>>;
        return await handle({ ask: askFor(caller, fetchApi), caller, services, nowMs: services.now().getTime(), params, query, form }, requestId);
      } catch (error) {
        return failed(error, requestId, context, caller, section);
      }
    };
  }

  const verifierKey = async (): Promise<string | undefined> => (await services.store.state())?.logVerifierKey;
  const pages: readonly Page[] = [overviewPage(verifierKey), trustPage, workloadsPage, certificatePage, revokePage, edgesPage(), policiesPage, auditPage, entryPage(verifierKey), federationPage];
  for (const { path, section, show } of pages) {
    app.get(path, signedIn(section, async (context, requestId) => html(await show(context), requestId, context.caller, section)));
  }
  for (const { path, section, act } of actions) {
    app.post(path, signedIn(section, async (context, requestId) => {
      const done = await act(context);
      return "to" in done ? moved(done.to, requestId) : html(done, requestId, context.caller, section);
    }));
  }
  app.get("/ui/live", async (context) => {
    const requestId = nextRequestId();
    try {
      const secret = readCookie(context.req.raw);
      const caller = await sessions.callerOf(secret);
      // 204 ends an EventSource for good: whoever is signed out finds out at their next step.
      if (caller === undefined) return toResponse({ status: 204, body: null }, requestId);
      return toResponse(await liveStream(services, caller, () => sessions.callerOf(secret)), requestId);
    } catch (error) {
      return failed(error, requestId, context);
    }
  });
  app.get("/ui/", async () => moved("/ui", nextRequestId()));
  app.get("/ui/sign-in", async (context) => html(signInPage(context.req.query("next")), nextRequestId()));
  app.post("/ui/sign-in", async (context) => {
    const requestId = nextRequestId();
    try {
      const form = await readForm(context.req.raw);
      const caller = await services.authenticate((form.get("token") ?? "").trim());
      // First its own share: what is refused there takes nothing from the others.
      if (caller === undefined) throw services.limits.stranger(clientAddress(context.env, forwarders, context.req.header("x-forwarded-for") ?? null)) ?? services.limits.anonymous() ?? unknownToken();
      const { secret, lifetimeSeconds } = await sessions.start(caller);
      return moved(ownPath(form.get("next")), requestId, { "set-cookie": sessionCookie(secret, lifetimeSeconds) });
    } catch (error) {
      if (!(error instanceof Refusal)) return failed(error, requestId, context);
      services.recordDenial({ code: error.code, method: "POST", path: "/ui/sign-in", actor: "anonymous" });
      return html({ ...signInPage(undefined, error.message), status: problemStatus[error.code] }, requestId);
    }
  });
  app.get("/ui/sign-in/:code", async (context) => {
    const code = context.req.param("code");
    const caller = await sessions.offeredTo(code);
    if (caller === undefined) return html(refusedPage(403, "This link was used, or is over: it is good once, for two minutes. Make another with: countersign dashboard."), nextRequestId());
    return html(linkPage(code, caller.name, caller.role), nextRequestId());
  });
  app.post("/ui/sign-in/:code", async (context) => {
    const requestId = nextRequestId();
    try {
      const { secret, lifetimeSeconds } = await sessions.accept(context.req.param("code"));
      return moved("/ui", requestId, { "set-cookie": sessionCookie(secret, lifetimeSeconds) });
    } catch (error) {
      if (error instanceof Refusal) services.recordDenial({ code: error.code, method: "POST", path: "/ui/sign-in/{code}", actor: "anonymous" });
      return failed(error, requestId, context);
    }
  });
  app.post("/ui/sign-out", async (context) => {
    const secret = readCookie(context.req.raw);
    if (secret !== undefined) await sessions.end(secret);
    return moved("/ui/sign-in", nextRequestId(), { "set-cookie": sessionCookie("", 0) });
  });
  app.notFound(async () => html(refusedPage(404, "There is no such page."), nextRequestId()));
  app.onError((error, context) => failed(error, nextRequestId(), context));

  return async (request, env) => {
    const { pathname } = new URL(request.url);
    const asset = assets[pathname];
    if (asset !== undefined && (request.method === "GET" || request.method === "HEAD")) return toResponse(assetAnswer(asset), nextRequestId());
    // A form on somebody else's page must not act, not even sign anybody in or out.
    if (request.method === "POST" && !isOwnForm(request)) {
      services.recordDenial({ code: "forbidden", method: "POST", path: pathname.startsWith("/ui/sign-in/") ? "/ui/sign-in/{code}" : pathname.slice(0, maxRecordedPath), actor: "anonymous" });
      return toResponse(problemAnswer("forbidden", "This form was not sent from a page of this dashboard."), nextRequestId());
    }
    return app.fetch(request, env);
  };
}

async function readForm(request: Request): Promise<URLSearchParams> {
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(request.headers.get("content-type") ?? "")) {
    throw new Refusal("media_type_unsupported", "A form of the dashboard is sent as application/x-www-form-urlencoded.");
  }
  return new URLSearchParams(await readText(request, maxFormBytes));
}

/** A page of ours to go on to, never another site. */
function ownPath(next: string | null): string {
  return next !== null && /^\/ui(?:[/?][\x21-\x5b\x5d-\x7e]*)?$/.test(next) ? next : "/ui";
}

function unknownToken(): Refusal {
  return new Refusal("unauthenticated", "This API token is unknown, deleted or expired. Is it a whole one, from csapi_ on?");
}

function assetAnswer({ body, contentType, etag }: (typeof assets)[string]): Answer {
  return { status: 200, body, contentType, headers: { etag, "cache-control": "public, max-age=31536000, immutable" } };
}

const actions: readonly Action[] = [revokeAction, refreshAction];

const pageHeaders = {
  "content-security-policy":
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; " +
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  // With no-referrer a browser would send Origin: null with our own forms.
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};
const maxFormBytes = 16 * 1024;
const maxRecordedPath = 200;
