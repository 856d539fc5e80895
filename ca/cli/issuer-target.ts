import { randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ApiError } from "./api.ts";
import { secretFiles, type IssuerMaterial, type SecretScheme } from "./issuer-secret.ts";

/** Where an issuer is kept for the CA that uses it. */
export interface IssuerTarget {
  /** For people. */
  readonly name: string;
  /** What is there now; undefined when there is none or a part of it is missing. @throws {ApiError} */
  read(): Promise<Omit<IssuerMaterial, "anchors"> | undefined>;
  /** Replaces all of it at once: nobody sees a certificate beside the key of another. @throws {ApiError} */
  write(material: IssuerMaterial): Promise<void>;
}

/**
 * A folder, replaced as the kubelet replaces a mounted Secret: a new folder, to which `..data` is pointed by one rename, and links
 * through it. Software that watches mounted Secrets, as linkerd does, notices.
 */
export function folderTarget(folder: string, scheme: SecretScheme): IssuerTarget {
  const data = join(folder, "..data");
  return {
    name: folder,
    read: async () => {
      const [chain, key] = [scheme.certificate, scheme.key].map((file) => readIfThere(join(folder, file)));
      return chain === undefined || key === undefined ? undefined : { chain, key };
    },
    write: async (material) => {
      const version = `..${Date.now()}.${randomBytes(4).toString("hex")}`;
      try {
        mkdirSync(join(folder, version), { recursive: true, mode: 0o700 });
        const before = linkAt(data);
        const files = secretFiles(scheme, material);
        for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, version, file), content, { mode: 0o600, flush: true });
        // If we die before this, the old pair is in place and whole; after it, the new one.
        pointTo(version, data);
        for (const file of Object.keys(files)) if (linkAt(join(folder, file)) !== join("..data", file)) pointTo(join("..data", file), join(folder, file));
        if (before !== undefined) rmSync(join(folder, before), { recursive: true, force: true });
      } catch (cause) {
        rmSync(join(folder, version), { recursive: true, force: true });
        throw new ApiError(`cannot write the issuer to ${folder} (${(cause as NodeJS.ErrnoException).code}); is it ours to write to?`, { cause });
      }
    },
  };
}

/** Where the link at a path points; undefined for what is no link. */
function linkAt(path: string): string | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true ? readlinkSync(path) : undefined;
}

/** Replaces whatever is at the path by a link, in one step. */
function pointTo(destination: string, path: string): void {
  const next = `${path}_tmp`;
  rmSync(next, { force: true });
  symlinkSync(destination, next);
  renameSync(next, path);
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new ApiError(`cannot read ${path} (${code})`, { cause });
  }
}
