/** Expired reports that each write takes away: more than it brings, so that this always catches up. */
export const maxForgotten = 1024;
