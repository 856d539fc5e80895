import { randomInt } from "node:crypto";
import { once } from "node:events";
import { get } from "node:http";
import { request } from "node:https";
import { createServer } from "node:net";

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

/**
 * A TCP port that was free a moment ago, and is likely to stay so until it is listened on, or listened on again: none that a system gives
 * to who asks for any port, and one that this process has not given before.
 */
export async function freePort(preferred?: number, address = "127.0.0.1"): Promise<number> {
  for (let attempt = 0, port = preferred ?? nextPort(); ; attempt++, port = nextPort()) {
    const server = createServer();
    try {
      server.listen(port, address);
      await once(server, "listening");
      return port;
    } catch (error) {
      if (attempt === maxAttempts) throw error;
    } finally {
      server.close();
    }
  }
}

/** Readiness only: nothing secret is sent and nothing received is believed, so a certificate is not looked at. */
export function statusOf(url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = url.startsWith("https:") ? request(url, { rejectUnauthorized: false, agent: false }) : get(url);
    asked.on("response", (response) => resolve((response.resume(), response.statusCode ?? 0))).on("error", reject).end();
  });
}

function nextPort(): number {
  next = next + 1 < portsEnd ? next + 1 : portsStart;
  return next;
}

/** Below those that Linux (from 32768) and others (from 49152) give by themselves, above the last that browsers refuse (10080). */
const [portsStart, portsEnd] = [12_000, 32_768];
let next = randomInt(portsStart, portsEnd);
const maxAttempts = 100;
