import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Metafile } from "esbuild";

/** The part of a CycloneDX document that is looked at here. */
export interface SoftwareBill {
  readonly metadata: { readonly component: { readonly "bom-ref": string; readonly name: string } };
  readonly components: readonly { readonly "bom-ref": string; readonly name: string; readonly version: string; readonly purl: string }[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

/**
 * What is in a bundle, as `npm sbom` writes it, cut down to the packages whose code the bundler took or left beside it.
 * @source CycloneDX 1.5
 */
export function softwareBill(name: string, { inputs, outputs }: Metafile, root: string): SoftwareBill {
  const text = execFileSync("npm", ["sbom", "--package-lock-only", "--sbom-format", "cyclonedx"], { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], maxBuffer: maxBillBytes });
  const bill = JSON.parse(text) as SoftwareBill;
  const beside = Object.values(outputs).flatMap(({ imports }) => imports.filter(({ external }) => external).map(({ path }) => join("node_modules", path)));
  const folders = new Set([...Object.keys(inputs).flatMap((path) => packageFolder(path) ?? []), ...beside]);
  const references = new Set([...folders].flatMap((folder) => referenceOf(join(root, folder))));
  const listed = new Set(bill.components.map(({ "bom-ref": reference }) => reference));
  const missing = [...references].filter((reference) => !listed.has(reference));
  if (missing.length > 0) throw new Error(`the lock file knows nothing of ${missing.join(", ")}, which the bundle has; run npm ci`);
  const own = bill.metadata.component;
  return {
    ...bill,
    // npm names it after the folder of the checkout.
    metadata: { ...bill.metadata, component: { ...own, name: name === "ca" ? "countersign" : "countersign-proxy" } },
    components: bill.components.filter(({ "bom-ref": reference }) => references.has(reference)),
    dependencies: bill.dependencies.filter(({ ref }) => references.has(ref) || ref === own["bom-ref"])
      .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((reference) => references.has(reference)) })),
  };
}

/** `node_modules/@scope/name` of a path below it, the innermost one. */
function packageFolder(path: string): string | undefined {
  return /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0];
}

/** Empty for what is no package, such as an optional one that is not installed, or Node's own modules. */
function referenceOf(folder: string): readonly string[] {
  try {
    const { name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { name: string; version: string };
    return [`${name}@${version}`];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

const maxBillBytes = 16 * 1024 * 1024;
