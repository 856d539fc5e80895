import type { Changed } from "./policies.ts";

/** Which identity must answer to a name. */
export interface Service {
  /** Host name as apps use it, lower case. */
  readonly name: string;
  /** Absent: on any port. */
  readonly port?: number;
  readonly spiffeId: string;
  /** Where it is, when DNS does not say. */
  readonly addresses?: readonly ServiceAddress[];
}

export interface ServiceAddress {
  /** IP address or DNS name. */
  readonly host: string;
  /** Of the server's proxy. */
  readonly port: number;
  /** Share of the connections, 1 to 1000; default 1. */
  readonly weight?: number;
}
export interface ServiceList {
  readonly sequence: number;
  readonly services: readonly (Service & { readonly changed: Changed })[];
}
