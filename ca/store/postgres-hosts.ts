import pg from "pg";
import { StoreError } from "./errors.ts";
import { connectionOptions, requireWritable } from "./postgres-connection.ts";
import { describe } from "./reads.ts";

/**
 * One URL for each host that a URL names, in its order: `postgres://user@one:5432,two:5432/database`, as libpq writes a database that
 * fails over from one host to another.
 * @throws {StoreError} store_unavailable for a URL that is none, or asks for a host that does not take writes
 * @source PostgreSQL documentation, 34.1.1.3 "Specifying Multiple Hosts"
 */
export function hostUrls(url: string): readonly string[] {
  const [, start = "", hosts = "", path = "", query] = /^(postgres(?:ql)?:\/\/(?:[^/?#]*@)?)([^/?#]*)([^?#]*)(?:\?([^#]*))?/.exec(url) ?? [];
  const named = hosts.split(",");
  // An @ behind the hosts: a password with a character that was not encoded, parts of which are no host's name.
  if (named.length === 1 || path.includes("@")) return [url];
  const parameters = new URLSearchParams(query);
  const wanted = parameters.get("target_session_attrs") ?? "read-write";
  if (!["read-write", "primary", "any"].includes(wanted)) {
    throw new StoreError("store_unavailable", "The store's URL asks by target_session_attrs for a host that only reads, and a CA writes. Leave it out: of several hosts the first that takes writes is used.");
  }
  if (named.includes("") || named.length > maxHosts) {
    throw new StoreError("store_unavailable", `The store's URL names ${named.length} hosts, or none between two commas. Write 1 to ${maxHosts}: postgres://user@one:5432,two:5432/database.`);
  }
  parameters.delete("target_session_attrs");
  const rest = `${path}${parameters.size === 0 ? "" : `?${parameters}`}`;
  return named.map((host) => `${start}${host}${rest}`);
}

/**
 * The same, but first the one that answers and takes writes: each is asked in turn. Where there is one alone, nobody is asked.
 * @throws {StoreError} store_unavailable, with what each host said
 */
export async function writableFirst(url: string): Promise<readonly [string, ...string[]]> {
  const urls = hostUrls(url);
  const [only = url, ...others] = urls;
  if (others.length === 0) return [only];
  const found: string[] = [];
  for (const [index, each] of urls.entries()) {
    const client = new pg.Client(connectionOptions(each));
    client.on("error", () => undefined);
    try {
      await client.connect();
      await requireWritable(client);
      return [each, ...urls.slice(index + 1), ...urls.slice(0, index)];
    } catch (cause) {
      found.push(`host ${index + 1}: ${describe(cause)}`);
    } finally {
      await client.end().catch(() => undefined);
    }
  }
  throw new StoreError("store_unavailable", `No host of the store's URL takes writes (${found.join("; ")}). Look whether one of them is the primary.`);
}

const maxHosts = 8;
