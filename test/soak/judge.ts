import type { EnduranceResult } from "./endurance.ts";

/** What of a result must not be; empty when all is well. */
export function judge({ failures, measures }: EnduranceResult): readonly string[] {
  const faults = failures.slice(0, shownFailures).map((failure) => `not answered as it should be: ${failure}`);
  for (const [name, { before, after, rotations, peerCertificates }] of Object.entries(measures)) {
    const grownBytes = after.heapBytes - before.heapBytes;
    const allowedBytes = heapNoiseBytes + Math.min(peerCertificates, remembered) * rememberedBytes;
    if (grownBytes > allowedBytes) faults.push(`the heap of ${name} grew by ${grownBytes} bytes in ${rotations} rotations, ${allowedBytes} are allowed`);
    const grownDescriptors = after.descriptors - before.descriptors;
    if (grownDescriptors > descriptorNoise) faults.push(`${name} has ${grownDescriptors} descriptors more`);
  }
  return faults;
}

const shownFailures = 10;
const heapNoiseBytes = 4 * 1024 * 1024;
/** Of peers' certificates so many of the last are remembered (`peer.ts`); nothing else may stay of a rotation. */
const remembered = 1024;
const rememberedBytes = 9 * 1024;
/** Kept connections come and go. */
const descriptorNoise = 16;
