/** Where to listen or to connect to. */
export interface SocketAddress {
  /** IP address without brackets, or a DNS name. */
  readonly host: string;
  /** 0 means any free port, and only where one listens. */
  readonly port: number;
}

/** Reads `host:port` or `[v6]:port`. @returns undefined if the text is not one */
export function parseSocketAddress(text: string): SocketAddress | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/@,=]{1,253})):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(digits) > maxPort) return undefined;
  return { host, port: Number(digits) };
}

/** Writes it as `parseSocketAddress` reads it. */
export function formatSocketAddress({ host, port }: SocketAddress): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True for addresses only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

const maxPort = 65_535;
