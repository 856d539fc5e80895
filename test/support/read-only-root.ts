import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A folder that is a program's root, as an image is a container's. */
export interface RootFolder {
  readonly root: string;
  /** The only thing that can be written: the path in there, and the folder here that it is. */
  readonly volume?: { readonly path: string; readonly folder: string };
}

/** Who the images run as. */
export const imageUser = 65_532;

/**
 * Completes the folder by what an image has from its base: places for Node.js, the C libraries, /proc and what every container has of /dev.
 * Linux, as root.
 * @returns command and arguments to put before a program and its arguments, which then runs in there: with this root, read-only but for
 *          the volume, as the images' user, without capabilities or a way to any. The network is this machine's.
 */
export function inReadOnlyRoot({ root, volume }: RootFolder): readonly string[] {
  for (const path of ["usr/local/bin", "usr/lib", "usr/lib64", "proc", "dev"]) mkdirSync(join(root, path), { recursive: true });
  for (const name of ["lib", "lib64"]) symlinkSync(`usr/${name}`, join(root, name));
  for (const path of ["usr/local/bin/node", ...devices.map((name) => `dev/${name}`)]) writeFileSync(join(root, path), "");
  return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", root, volume?.folder ?? "", volume?.path ?? ""];
}

const devices = ["null", "urandom"];

/** Its arguments: the root, the volume's folder and path, then Node.js as this machine has it, the program in the root, and what that is called with. */
const script = `
root=$1 folder=$2 path=$3 node=$4; shift 4
mount --bind "$root" "$root"
for name in usr/lib usr/lib64; do mount --bind -o ro "/$name" "$root/$name"; done
mount --bind -o ro "$node" "$root/usr/local/bin/node"
mount --rbind /proc "$root/proc"
for name in ${devices.join(" ")}; do mount --bind "/dev/$name" "$root/dev/$name"; done
mount -o remount,bind,ro "$root"
if [ -n "$path" ]; then mount --bind "$folder" "$root$path"; fi
unset NODE_COMPILE_CACHE
cd /
exec setpriv --no-new-privs chroot --userspec=${imageUser}:${imageUser} --groups=${imageUser} "$root" /usr/local/bin/node "$@"
`;
