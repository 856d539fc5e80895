import { chmodSync, statSync, type Stats } from "node:fs";

/**
 * Keeps others from writing to a folder: whoever may can put files there for us to take as ours.
 * @returns undefined, or what is wrong and the command that mends it
 */
export function closeFolder(path: string, ownUid = process.geteuid?.()): string | undefined {
  if (ownUid === undefined) return undefined;
  const stats = statSync(path);
  if ((stats.mode & worldWritable) !== 0) {
    return `everybody on this machine may write to the folder ${path} (mode ${octal(stats)}), so what is in it may be anybody's; look ` +
      `what is, then run: chmod 700 ${path}`;
  }
  // A folder of another owner, group-writable, is how Kubernetes mounts a volume with fsGroup.
  if ((stats.mode & groupWritable) !== 0 && stats.uid === ownUid) chmodSync(path, stats.mode & 0o7777 & ~groupWritable);
  return undefined;
}

/**
 * Makes a file its owner's alone, if that is us; refuses what somebody else may have put or altered there.
 * @returns undefined, also when there is no such file, or what is wrong and the command that mends it
 */
export function closeFile(path: string, ownUid = process.geteuid?.()): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (ownUid === undefined || stats === undefined) return undefined;
  if (stats.uid !== ownUid && stats.uid !== 0) {
    return `the file ${path} belongs to the user with ID ${stats.uid}, who may have put it there, and not to us (${ownUid}); if it is ` +
      `the right one, run: chown ${ownUid} ${path}`;
  }
  if ((stats.mode & worldWritable) !== 0) {
    return `everybody on this machine may write to ${path} (mode ${octal(stats)}); run: chmod 600 ${path}, and then ` +
      '"countersign audit verify", which finds what was altered';
  }
  if ((stats.mode & groupAndWorld) !== 0 && stats.uid === ownUid) chmodSync(path, 0o600);
  return undefined;
}

function octal({ mode }: Stats): string {
  return (mode & 0o777).toString(8).padStart(4, "0");
}

const worldWritable = 0o002;
const groupWritable = 0o020;
const groupAndWorld = 0o077;
