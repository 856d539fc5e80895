import { chownSync } from "node:fs";

/**
 * Makes a file another user's, as seen by the user with the ID that is returned: root gives it away, anybody else is told to be
 * somebody else.
 */
export function disown(path: string): number {
  const uid = process.getuid!();
  if (uid !== 0) return uid + 1;
  chownSync(path, 65_534, 65_534);
  return 0;
}
