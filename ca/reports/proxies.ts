import type { ProxyList } from "../contract/proxies.ts";
import type { Reported } from "./reading.ts";

export interface ProxyQuery {
  /** Asked of each ID: what is not in it is left out. */
  readonly isInView: (spiffeId: string) => boolean;
  /** Only those whose certificate this issuer signed. */
  readonly authorityId?: string | undefined;
  /** Only those with one of these certificates. */
  readonly serialNumbers?: readonly string[] | undefined;
  readonly offset: number;
  readonly limit: number;
}

/** Makes the listing of the proxies that reported lately, each by its newest certificate. */
export function proxyReader(reported: () => Promise<Reported>) {
  return async function proxies({ isInView, authorityId, serialNumbers, offset, limit }: ProxyQuery): Promise<Omit<ProxyList, "nextCursor">> {
    const { proxies: all, bySerialNumber, proxiesLeftOut } = await reported();
    const asked = serialNumbers?.flatMap((serialNumber) => bySerialNumber.get(serialNumber) ?? []) ?? all;
    const wanted = asked.filter((proxy) => (authorityId === undefined || proxy.authorityId === authorityId) && isInView(proxy.spiffeId));
    return { proxies: wanted.slice(offset, offset + limit), total: wanted.length, truncated: proxiesLeftOut };
  };
}
