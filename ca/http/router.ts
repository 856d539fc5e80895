import type { Result, Router } from "hono/router";
import { RegExpRouter } from "hono/router/reg-exp-router";
import { SmartRouter } from "hono/router/smart-router";
import { TrieRouter } from "hono/router/trie-router";

/**
 * A router that finds paths without parameters by one look-up. Hono's fast one refuses our paths, since a name stands where others have a
 * parameter (`/v1/authorities/rotate`), and the general one takes some 5 us for each request.
 */
export function exactFirst<T>(): Router<T> {
  const exact = new Map<string, Result<T>>();
  const others = new SmartRouter<T>({ routers: [new RegExpRouter(), new TrieRouter()] });
  return {
    name: "ExactFirst",
    add(method, path, handler) {
      if (/[:*{]/.test(path)) others.add(method, path, handler);
      else exact.set(`${method} ${path}`, [[[handler, {}]]]);
    },
    match: (method, path) => exact.get(`${method} ${path}`) ?? others.match(method, path),
  };
}
