/** CRLReason: what is written for each reason. 7 is unused; 6 and 8 put a certificate on hold, which nobody here does. @source RFC 5280 5.3.1 */
export const reasonCodes = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  certificateHold: 6,
  removeFromCRL: 8,
  privilegeWithdrawn: 9,
  aACompromise: 10,
} as const;

export type CrlReason = keyof typeof reasonCodes;

/** @returns undefined for a number that stands for nothing */
export function reasonOf(code: number): CrlReason | undefined {
  return namesByCode.get(code);
}

const namesByCode: ReadonlyMap<number, CrlReason> = new Map(Object.entries(reasonCodes).map(([name, code]) => [code, name as CrlReason]));
