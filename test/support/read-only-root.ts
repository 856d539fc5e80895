import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** A folder that is a program's root, as an image is a container's. */
export interface RootFolder {
  readonly root: string;
  /** The only thing that can be written: the path in there, and the folder here that it is. */
  readonly volume?: { readonly path: string; readonly folder: string };
  /** Then it runs as root, which may this and no more, e.g. `NET_ADMIN`; else as the images' user, who may nothing. */
  readonly capabilities?: readonly string[];
  /** Paths of this machine's programs that the image has, too. */
  readonly programs?: readonly string[];
}

/** Who the images run as. */
export const imageUser = 65_532;

/**
 * Completes the folder by what an image has from its base: places for Node.js, the C libraries, /proc and what every container has of /dev.
 * Linux, as root.
 * @returns command and arguments to put before a program and its arguments, which then runs in there: with this root, read-only but for
 *          the volume, and with no way to more rights. The network is this machine's.
 */
export function inReadOnlyRoot({ root, volume, capabilities, programs = [] }: RootFolder): readonly string[] {
  const bound = capabilities === undefined ? programs : [...programs, setpriv];
  for (const path of ["usr/local/bin", "usr/lib", "usr/lib64", "proc", "dev"]) mkdirSync(join(root, path), { recursive: true });
  for (const name of ["lib", "lib64"]) symlinkSync(`usr/${name}`, join(root, name));
  for (const path of ["usr/local/bin/node", ...devices, ...bound]) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), "");
  }
  return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", scriptOf([...devices, ...bound], capabilities), "sh", root, volume?.folder ?? "", volume?.path ?? ""];
}

/** Its arguments: the root, the volume's folder and path, then Node.js as this machine has it, the program in the root, and what that is called with. */
function scriptOf(bound: readonly string[], capabilities: readonly string[] | undefined): string {
  const enter = capabilities === undefined
    ? `${setpriv} --no-new-privs chroot --userspec=${imageUser}:${imageUser} --groups=${imageUser} "$root"`
    : `chroot "$root" ${setpriv} --no-new-privs --inh-caps=-all --bounding-set=${["-all", ...capabilities.map((name) => `+${name.toLowerCase()}`)].join(",")}`;
  return `
root=$1 folder=$2 path=$3 node=$4; shift 4
mount --bind "$root" "$root"
for name in /usr/lib /usr/lib64 ${bound.join(" ")}; do mount --bind -o ro "$name" "$root$name"; done
mount --bind -o ro "$node" "$root/usr/local/bin/node"
mount --rbind /proc "$root/proc"
mount -o remount,bind,ro "$root"
if [ -n "$path" ]; then mount --bind "$folder" "$root$path"; fi
unset NODE_COMPILE_CACHE
cd /
exec ${enter} /usr/local/bin/node "$@"
`;
}

const setpriv = "/usr/bin/setpriv";
const devices = ["/dev/null", "/dev/urandom"];
