import { once } from "node:events";
import { chmodSync, lstatSync, mkdtempSync, renameSync, rmSync, type Stats } from "node:fs";
import { connect, type Server } from "node:net";
import { join } from "node:path";
import { refused } from "../config/sources.ts";

/** A Unix socket that is listened on. */
export interface ListeningSocket {
  /** Removes its name, unless another process has taken it. */
  remove(): void;
}

/**
 * Listens on a Unix socket that has its mode before anybody can reach it: it is made in a folder of our own and then moved to its
 * name. What a process that died left there is replaced.
 * @throws {ConfigError} value_refused: somebody listens there, or it is something else than a socket
 */
export async function listenOnSocket(server: Server, path: string, mode: number): Promise<ListeningSocket> {
  const before = statsOf(path);
  if (before !== undefined && !before.isSocket()) throw refused("workloadSocket", path, "something that is not a socket has this name; move it away");
  if (before !== undefined && (await isAnswered(path))) throw refused("workloadSocket", path, "another process listens there; stop it, or choose another path");
  let folder: string | undefined;
  try {
    folder = mkdtempSync(`${path}-`);
    const temporary = join(folder, "s");
    server.listen({ path: temporary });
    await once(server, "listening");
    chmodSync(temporary, mode);
    const { ino } = lstatSync(temporary);
    renameSync(temporary, path);
    return { remove: () => void (statsOf(path)?.ino === ino && rmSync(path, { force: true })) };
  } catch (cause) {
    throw refused("workloadSocket", path, `it cannot be listened on (${(cause as NodeJS.ErrnoException).code})`);
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}

function statsOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** A socket without its process refuses. */
async function isAnswered(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, "connect");
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ECONNREFUSED";
  } finally {
    socket.destroy();
  }
}
