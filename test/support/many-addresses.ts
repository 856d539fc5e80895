import { Server, type Socket } from "node:net";

/**
 * Makes every connection that this process accepts look as if it came from an IPv6 address of its own, all of one /64: loopback has
 * only one, and who has such a network has 2^64.
 * @returns what ends it
 */
export function manyAddresses(): () => void {
  const { emit } = Server.prototype;
  let taken = 0;
  Server.prototype.emit = function (this: Server, event: string | symbol, ...args: unknown[]) {
    const [socket] = args as [WithHandle?];
    if (event === "connection" && socket?._handle?.getpeername !== undefined) {
      const { _handle: handle } = socket;
      const address = `2001:db8::${(taken += 1).toString(16)}`;
      const known = handle.getpeername.bind(handle);
      handle.getpeername = (out) => {
        const status = known(out);
        Object.assign(out, { address, family: "IPv6" });
        return status;
      };
    }
    return Reflect.apply(emit, this, [event, ...args]) as boolean;
  };
  return () => void (Server.prototype.emit = emit);
}

type WithHandle = Socket & { readonly _handle: { getpeername(out: object): number } | null };
