/** Of this program, as package.json has it; importing that would carry the names of all packages along. */
export const version = "0.1.0";
