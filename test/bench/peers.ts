import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { freePort } from "../../infra/demo/place.ts";
import { type RunningProcess } from "../../infra/demo/processes.ts";

/** One program in the place of a proxy. */
export interface Side {
  readonly name: string;
  readonly process: RunningProcess;
  readonly port: number;
}

/** A program that can stand there, and how it is started; undefined where it is not installed. */
export interface Peer {
  readonly name: string;
  start(): Promise<Side>;
}

export interface PeerSettings {
  /** Where configurations are written. */
  readonly dir: string;
  readonly certPath: string;
  readonly keyPath: string;
  readonly rootPath: string;
  /** Inbound: the app. Outbound: the TLS server. */
  readonly to: number;
}

/**
 * The programs people use for this, from Debian, with the settings of the proxy: TLS 1.3, a client certificate of the same key
 * type is required and verified, no resumption, one process, no access log.
 */
export function inboundPeers(settings: PeerSettings): readonly Peer[] {
  const { dir, certPath, keyPath, rootPath, to } = settings;
  const tls = `ssl_certificate ${certPath}; ssl_certificate_key ${keyPath}; ssl_client_certificate ${rootPath}; ssl_verify_client on; ssl_verify_depth 4;
    ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_session_cache off;`;
  const bundle = pemBundle(settings);
  const bind = `ssl crt ${bundle} ca-file ${rootPath} verify required`;
  return installed([
    nginx("nginx stream", dir, (port) => `stream { server { listen 127.0.0.1:${port} ssl backlog=1024; ${tls} proxy_pass 127.0.0.1:${to}; } }`),
    nginx("nginx http", dir, (port) => `http { access_log off; client_max_body_size 0;
      upstream app { server 127.0.0.1:${to}; keepalive 256; keepalive_requests 100000000; }
      server { listen 127.0.0.1:${port} ssl backlog=1024; ${tls} keepalive_requests 100000000; location / {
        proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header X-Client-Id $ssl_client_s_dn; proxy_request_buffering off; } } }`),
    haproxy("haproxy tcp", dir, (port) => `mode tcp\n  bind 127.0.0.1:${port} ${bind}\n  server app 127.0.0.1:${to}`),
    haproxy("haproxy http", dir, (port) => `mode http\n  http-reuse always\n  http-request set-header X-Client-Id %[ssl_c_s_dn]\n  bind 127.0.0.1:${port} ${bind}\n  server app 127.0.0.1:${to}`),
    stunnel(dir, (port) => `accept = 127.0.0.1:${port}\nconnect = 127.0.0.1:${to}\ncert = ${certPath}\nkey = ${keyPath}\nCAfile = ${rootPath}\nverifyChain = yes\nrequireCert = yes`),
  ]);
}

/** The same from the app's side: plain text in, mutual TLS out to a server whose certificate is verified. */
export function outboundPeers(settings: PeerSettings): readonly Peer[] {
  const { dir, certPath, keyPath, rootPath, to } = settings;
  const tls = `proxy_ssl_certificate ${certPath}; proxy_ssl_certificate_key ${keyPath}; proxy_ssl_trusted_certificate ${rootPath}; proxy_ssl_verify on;
    proxy_ssl_verify_depth 4; proxy_ssl_name world; proxy_ssl_protocols TLSv1.3; proxy_ssl_session_reuse off;`;
  const server = `server world 127.0.0.1:${to} ssl crt ${pemBundle(settings)} ca-file ${rootPath} verify required no-ssl-reuse`;
  return installed([
    nginx("nginx stream", dir, (port) => `stream { server { listen 127.0.0.1:${port} backlog=1024; proxy_ssl on; ${tls} proxy_pass 127.0.0.1:${to}; } }`),
    nginx("nginx http", dir, (port) => `http { access_log off; client_max_body_size 0;
      upstream world { server 127.0.0.1:${to}; keepalive 256; keepalive_requests 100000000; }
      server { listen 127.0.0.1:${port} backlog=1024; keepalive_requests 100000000; location / {
        ${tls} proxy_pass https://world; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; } } }`),
    haproxy("haproxy tcp", dir, (port) => `mode tcp\n  bind 127.0.0.1:${port}\n  ${server}`),
    haproxy("haproxy http", dir, (port) => `mode http\n  http-reuse always\n  bind 127.0.0.1:${port}\n  ${server}`),
    stunnel(dir, (port) => `client = yes\naccept = 127.0.0.1:${port}\nconnect = 127.0.0.1:${to}\ncert = ${certPath}\nkey = ${keyPath}\nCAfile = ${rootPath}\nverifyChain = yes`),
  ]);
}

/** An app that costs next to nothing for `/world`, before the one that does all else; undefined where nginx is not installed. */
export async function quickApp(dir: string, to: number): Promise<Side | undefined> {
  const [app] = installed([nginx("app", dir, (port) => `http { access_log off; client_max_body_size 0; upstream app { server 127.0.0.1:${to}; keepalive 256; }
    server { listen 127.0.0.1:${port} backlog=1024; keepalive_requests 100000000; location = /world { default_type text/plain; return 200 "world\\n"; }
      location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; proxy_buffering off; } } }`)]);
  return app?.start();
}

interface Program extends Peer {
  readonly program: string;
}

function nginx(name: string, dir: string, blocks: (port: number) => string): Program {
  return program("nginx", name, async (port) => {
    const path = join(dir, `nginx-${port}.conf`);
    writeFileSync(path, `${existsSync(streamModule) ? `load_module ${streamModule};` : ""}
      daemon off; master_process off; pid ${path}.pid; error_log stderr crit; events { worker_connections 8192; }
      ${blocks(port).replace("http {", ["http {", ...["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${path}.${kind};`)].join(" "))}`);
    return ["-c", path, "-p", dir, "-e", "stderr"];
  }, name !== "nginx stream" || existsSync(streamModule));
}

function haproxy(name: string, dir: string, listen: (port: number) => string): Program {
  return program("haproxy", name, async (port) => {
    const path = join(dir, `haproxy-${port}.cfg`);
    writeFileSync(path, `global
  nbthread 1
  maxconn 8000
  tune.ssl.cachesize 0
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
listen bench
  ${listen(port)}
`);
    return ["-f", path];
  });
}

function stunnel(dir: string, service: (port: number) => string): Program {
  return program("stunnel", "stunnel", async (port) => {
    const path = join(dir, `stunnel-${port}.conf`);
    writeFileSync(path, `foreground = yes\npid =\ndebug = crit\nsslVersionMin = TLSv1.3\noptions = NO_TICKET\nsessionCacheSize = 1\n[bench]\n${service(port)}\n`);
    return [path];
  });
}

function program(file: string, name: string, prepare: (port: number) => Promise<readonly string[]>, usable = true): Program {
  return {
    name,
    program: usable ? file : "",
    async start() {
      const port = await freePort();
      return { name, port, process: started(file, await prepare(port)) };
    },
  };
}

/** Starts a program that is stopped without asking. */
export function started(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): RunningProcess {
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env["PATH"], ...env } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (chunk: string) => (output = (output + chunk).slice(-10_000)));
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return {
    child, pid: child.pid ?? 0, output: () => output,
    stop(signal = "SIGKILL") {
      child.kill(signal);
      return exited;
    },
  };
}

function installed(programs: readonly Program[]): readonly Peer[] {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin"];
  const [found, missing] = [true, false].map((wanted) => programs.filter(({ program }) => wanted === (program !== "" && folders.some((folder) => existsSync(join(folder, program))))));
  if (missing!.length > 0) console.log(`Not installed, so not measured: ${missing!.map(({ name }) => name).join(", ")} (Debian: nginx libnginx-mod-stream haproxy stunnel4).`);
  return found!;
}

function pemBundle({ dir, certPath, keyPath }: PeerSettings): string {
  const path = join(dir, "haproxy.pem");
  writeFileSync(path, readFileSync(certPath, "utf8") + readFileSync(keyPath, "utf8"), { mode: 0o600 });
  return path;
}

const streamModule = "/usr/lib/nginx/modules/ngx_stream_module.so";
