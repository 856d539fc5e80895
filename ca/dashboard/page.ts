import type { Caller, CaServices } from "../http/services.ts";
import type { Ask } from "./ask.ts";
import type { Markup } from "./marks.ts";

/** What a page is made from. */
export interface PageContext {
  readonly ask: Ask;
  readonly caller: Caller;
  readonly services: CaServices;
  readonly nowMs: number;
  /** Of the path, by name. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** Of a form that was sent; empty for what was only looked at. */
  readonly form: URLSearchParams;
}

export interface Page {
  /** As Hono has it. */
  readonly path: string;
  /** The page of the navigation that it belongs to. */
  readonly section: string;
  show(context: PageContext): Promise<Shown>;
}

/** What a form does: it is sent with POST, by a browser that shows a page of ours. */
export interface Action {
  readonly path: string;
  readonly section: string;
  act(context: PageContext): Promise<Shown | Moved>;
}

export interface Shown {
  readonly title: string;
  readonly body: Markup;
  /** Default 200. */
  readonly status?: number;
}

export interface Moved {
  readonly to: string;
}
