/** Which names beside the SPIFFE ID a profile gives at all, whoever asks. Undefined is any. */
export interface PermittedNames {
  /** `cart.shop.svc`, or `*.shop.svc` for all below. */
  readonly dnsNames: readonly string[] | undefined;
  /** Address and mask of each range, 8 or 32 octets. */
  readonly ipRanges: readonly Uint8Array[] | undefined;
}

/** Whether the profile gives this DNS name. */
export function permitsDnsName({ dnsNames }: PermittedNames, name: string): boolean {
  return dnsNames === undefined || dnsNames.some((pattern) => (pattern.startsWith("*.") ? name.endsWith(pattern.slice(1)) && name.length >= pattern.length : name === pattern));
}

/** Whether the profile gives this IP address, in the octets that stand in the certificate. */
export function permitsIpAddress({ ipRanges }: PermittedNames, address: Uint8Array): boolean {
  return ipRanges === undefined || ipRanges.some((range) => rangeHolds(range, address));
}

function rangeHolds(range: Uint8Array, address: Uint8Array): boolean {
  const { length } = address;
  return range.length === length * 2 && address.every((octet, index) => (octet & (range[length + index] ?? 0)) === (range[index] ?? -1));
}
