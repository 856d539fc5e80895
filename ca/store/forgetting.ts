/** Expired reports that each write takes away: more than it brings, so that this always catches up. */
export const maxForgottenReports = 1024;
/** Spent requests, or ACME's records, that are over and go with each one that comes: more than come in, so this always catches up. */
export const maxForgottenAlong = 16;
