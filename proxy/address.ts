import type { Socket } from "node:net";
import { plainAddress } from "../ca/pki/ip-address.ts";

/** Where to listen or to connect to. */
export interface SocketAddress {
  /** IP address without brackets, or a DNS name. */
  readonly host: string;
  /** 0 means any free port, and only where one listens. */
  readonly port: number;
}

/** Reads `host:port` or `[v6]:port`. @returns undefined if the text is not one */
export function parseSocketAddress(text: string): SocketAddress | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/@,=*]{1,253})):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(digits) > maxPort) return undefined;
  return { host, port: Number(digits) };
}

/** The same, or `*:port`: every address of this machine, of both families where it has both. */
export function parseListenAddress(text: string): SocketAddress | undefined {
  const [, port] = /^\*:(\d{1,5})$/.exec(text) ?? [];
  return port === undefined ? parseSocketAddress(text) : Number(port) > maxPort ? undefined : { host: anyHost, port: Number(port) };
}

/** Writes it as `parseSocketAddress` reads it. */
export function formatSocketAddress({ host, port }: SocketAddress): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True for addresses only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/** Who is at the other end, as text; once it has gone, nobody knows. */
export function remoteOf({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): string {
  return remoteAddress === undefined || remotePort === undefined ? "a client that has gone" : formatSocketAddress({ host: plainAddress(remoteAddress), port: remotePort });
}

/** As a host to listen on: every address. */
export const anyHost = "*";
const maxPort = 65_535;
