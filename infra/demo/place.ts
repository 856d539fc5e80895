import { once } from "node:events";
import { get } from "node:http";
import { request } from "node:https";
import { createServer, type AddressInfo } from "node:net";

/** Where processes of ours run: this machine as it is, or a network of its own on it. */
export interface Place {
  /** Where others reach what listens here. */
  readonly address: string;
  /** Where only who is here does. */
  readonly loopback: string;
  /** Command and arguments that run a program here; none: it is started as it is. */
  readonly enter: readonly string[];
  /** A TCP port to listen on, the preferred one if it is free. */
  port(preferred?: number): Promise<number>;
  /** What a URL answers, asked from here. */
  status(url: string): Promise<number>;
}

/** This machine, on loopback alone. @param address  of 127.0.0.0/8 */
export function loopbackPlace(address = "127.0.0.1"): Place {
  return { address, loopback: address, enter: [], port: (preferred) => freePort(preferred, address), status: statusOf };
}

/** A TCP port that was free a moment ago. */
export async function freePort(preferred = 0, address = "127.0.0.1"): Promise<number> {
  const server = createServer();
  try {
    server.listen(preferred, address);
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  } catch (error) {
    if (preferred === 0) throw error;
    return freePort(0, address);
  } finally {
    server.close();
  }
}

/** Readiness only: nothing secret is sent and nothing received is believed, so a certificate is not looked at. */
export function statusOf(url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = url.startsWith("https:") ? request(url, { rejectUnauthorized: false, agent: false }) : get(url);
    asked.on("response", (response) => resolve((response.resume(), response.statusCode ?? 0))).on("error", reject).end();
  });
}
