import type { Credentials } from "../strangers.ts";

/** What somebody in a cluster is asked to do there, and what comes of it. Each is one message, answered by one. */
export interface Errands {
  /** Asks a URL, as curl would. */
  get: { readonly takes: { readonly url: string; readonly headers?: Readonly<Record<string, string>> }; readonly gives: { readonly status: number; readonly body: string } };
  /** Whether something answers, and how; whose certificate it shows does not matter. */
  status: { readonly takes: { readonly url: string }; readonly gives: number };
  /** Dials an inbound port with a certificate, and asks who it is taken for. @returns all that came back */
  present: { readonly takes: { readonly host: string; readonly port: number; readonly credentials: Credentials }; readonly gives: string };
  /** Asks through a proxy again and again, by each of these names in turn, until told to stop. */
  startAsking: { readonly takes: { readonly proxy: string; readonly names: readonly string[] }; readonly gives: true };
  stopAsking: { readonly takes: object; readonly gives: Asked };
  /** Opens a connection to a name through a proxy, which stays open. */
  openTunnel: { readonly takes: { readonly proxy: string; readonly name: string }; readonly gives: true };
  /** Waits for its end. @returns when that was, in ms since the epoch */
  awaitCut: { readonly takes: object; readonly gives: number };
}

export interface Asked {
  readonly asked: number;
  /** What was answered instead of "world", the first few times. */
  readonly failures: readonly string[];
}

export type ErrandName = keyof Errands;

/** Sent to the process that runs errands. */
export type Order = { [Name in ErrandName]: { readonly id: number; readonly errand: Name; readonly takes: Errands[Name]["takes"] } }[ErrandName];

/** Sent back by it. */
export type Report = { readonly id: number } & ({ readonly gives: unknown } | { readonly error: string });
