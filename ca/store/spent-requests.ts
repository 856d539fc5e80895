/** Spent requests that are over and go with each one that comes: more than come in, so this always catches up. */
export const maxForgottenSpent = 16;
