import { networkInterfaces } from "node:os";

/** The loopback addresses of this machine: both, or IPv4 alone. */
export const loopbacks: readonly string[] = ["127.0.0.1", "::1"].filter((host) => Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === host)));
