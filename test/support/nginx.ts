import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/**
 * nginx as Debian ships it, in a folder of ours; resolves when it listens.
 * @param folder  made for it; what is to be served lies in there already, or comes later
 * @param server  what goes into its one `server` block
 * @returns what ends it
 */
export async function startNginx(folder: string, port: number, server: string): Promise<() => Promise<void>> {
  mkdirSync(folder, { mode: 0o755, recursive: true });
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
  writeFileSync(join(folder, "nginx.conf"), `
    ${process.getuid?.() === 0 ? "user root;" : ""} pid ${folder}/pid; error_log ${folder}/error.log; daemon off; worker_processes 1;
    events {}
    http { access_log off; ${paths} gzip off; client_max_body_size 10m; server { root ${folder}; ${server} } }`);
  const nginx = spawn("nginx", ["-p", folder, "-c", join(folder, "nginx.conf")], { stdio: ["ignore", "ignore", "inherit"] });
  for (let tries = 0; !(await listens(port)); tries++) {
    if (nginx.exitCode !== null || tries > 500) throw new Error("nginx did not start");
    await delay(20);
  }
  return async () => {
    nginx.kill();
    if (nginx.exitCode === null) await once(nginx, "exit");
  };
}

async function listens(port: number): Promise<boolean> {
  const socket = connect({ port, host: "127.0.0.1" });
  const listening = await Promise.race([once(socket, "connect").then(() => true), once(socket, "close").then(() => false)]).catch(() => false);
  socket.destroy();
  return listening;
}
