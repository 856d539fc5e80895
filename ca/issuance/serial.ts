import { randomFillSync } from "node:crypto";

/** Makes serial numbers: 16 random octets, the first not zero, so that their INTEGER and their 32 hex digits are the same number. */
export function serialNumbers(): () => Uint8Array {
  const pool = Buffer.alloc(serialBytes * serialsPerFill);
  let next = pool.length;
  return function nextSerial(): Uint8Array {
    for (;;) {
      if (next === pool.length) {
        randomFillSync(pool);
        next = 0;
      }
      const serial = pool.subarray(next, (next += serialBytes));
      // DER would drop a leading zero octet. Drawing again costs 0.006 of the 128 bits.
      if (serial[0] !== 0) return Uint8Array.from(serial);
    }
  };
}

/** DESIGN promise 5: 128 bits; RFC 5280 4.1.2.2 allows 20 octets with the sign. */
export const serialBytes = 16;
/** One system call for so many: randomBytes(16) costs 1 us each. */
const serialsPerFill = 256;
