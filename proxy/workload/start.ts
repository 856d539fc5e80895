import type { Clock } from "../clock.ts";
import type { ProxyConfig } from "../config/config.ts";
import type { IdentitySource } from "../identity/source.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { listenOnSocket } from "./socket.ts";
import { jwtSvidCache, type JwtSvidsDeps } from "./jwt-svids.ts";
import { workloadApi } from "./workload-api.ts";
import { writeIdentityFiles } from "./write-files.ts";

/** What hands the identity to an app that does TLS itself. */
export interface WorkloadDeps {
  readonly config: Pick<ProxyConfig, "files" | "workloadApi">;
  readonly source: IdentitySource;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Asks the CA for a token. @throws {CaError} */
  readonly issueJwtSvid: JwtSvidsDeps["issue"];
}

/**
 * Starts what is configured of files and Workload API; the socket is listened on when it resolves.
 * @returns   stops both
 * @throws    {ConfigError} value_refused
 */
export async function startWorkload({ config, ...deps }: WorkloadDeps): Promise<() => void> {
  const stopFiles = config.files && writeIdentityFiles({ files: config.files, ...deps });
  try {
    const stopApi = config.workloadApi && (await serveWorkloadApi(config.workloadApi, deps));
    return () => {
      stopFiles?.();
      stopApi?.();
    };
  } catch (error) {
    stopFiles?.();
    throw error;
  }
}

async function serveWorkloadApi({ path, mode }: NonNullable<ProxyConfig["workloadApi"]>, { source, clock, metrics, log, issueJwtSvid: issue }: Omit<WorkloadDeps, "config">): Promise<() => void> {
  const api = workloadApi({ source, log, metrics, now: clock.now, jwtSvids: jwtSvidCache({ issue, source, clock, metrics }) });
  const socket = await listenOnSocket(api.server, path, mode);
  log.info({ path, mode: mode.toString(8) }, "Workload API listens");
  return () => {
    socket.remove();
    api.close();
  };
}
