import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { AddFederationRequest, FederationList, FederationSummary } from "../contract/federation.ts";
import { paths } from "../contract/paths.ts";
import type { Vitals } from "../contract/vitals.ts";
import { askEndpoint } from "../federation/endpoint.ts";
import { FederationError } from "../federation/errors.ts";
import { encodeBundle, parseBundle, type Bundle } from "../pki/bundle.ts";
import { encodeBundleMap, readBundleMap } from "../pki/bundle-map.ts";
import { PkiError } from "../pki/errors.ts";
import { parseTrustDomain } from "../pki/spiffe-id.ts";
import { writeAtomically } from "../runtime/write-file.ts";
import { ApiError, type Api } from "./api.ts";

/**
 * A hub is a folder that a web server or bucket shows over https: for each trust domain a bundle, which is a bundle endpoint of its own,
 * and a map that names them. Each CA's own bundle is written to it; the map is written anew from what is there.
 * @returns the trust domains in the map
 */
export async function publishToHub(ca: Api, folder: string): Promise<readonly string[]> {
  const { trustDomain } = await ca.call<Vitals>("GET", paths.vitals);
  const own = parseBundle(trustDomain, await ca.fetchPublic(paths.bundle, "application/json"));
  try {
    writeAtomically(join(folder, `${trustDomain}${suffix}`), encodeBundle(own), fileMode);
    const bundles = readdirSync(folder).flatMap((name) => readHubFile(folder, name));
    writeAtomically(join(folder, mapName), encodeBundleMap(bundles), fileMode);
    return bundles.map((bundle) => bundle.trustDomain).sort();
  } catch (cause) {
    if (cause instanceof Error && "syscall" in cause) throw new ApiError(`cannot write to the hub's folder ${folder} (${(cause as NodeJS.ErrnoException).code})`, { cause });
    throw cause;
  }
}

/** What a look at the hub changed. */
export interface Subscribed {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Federated with by another way, which stays. */
  readonly kept: readonly string[];
}

/**
 * Federates with every trust domain of a hub's map, by the bundle beside it, and with none of the hub's that the map has no more. A map that
 * cannot be read changes nothing.
 * @param roots  PEM, by which the hub's web server is known; default: those that Node brings along
 */
export async function subscribeToHub(ca: Api, mapUrl: URL, roots: readonly string[] | undefined): Promise<Subscribed> {
  const { trustDomain: own } = await ca.call<Vitals>("GET", paths.vitals);
  const listed = await readMap(mapUrl, roots);
  const { federation } = await ca.call<FederationList>("GET", paths.federation);
  const known = new Map(federation.map((one) => [one.trustDomain, one]));
  const endpointOf = (name: string): string => new URL(`${name}${suffix}`, mapUrl).href;
  const isOfHub = ({ trustDomain, endpointUrl }: FederationSummary): boolean => endpointUrl === endpointOf(trustDomain);
  const added = listed.filter((name) => name !== own && !known.has(name));
  const removed = federation.filter((one) => isOfHub(one) && !listed.includes(one.trustDomain)).map(({ trustDomain }) => trustDomain);
  for (const trustDomain of added) {
    await ca.call("POST", paths.federation, { trustDomain, profile: "https_web", endpointUrl: endpointOf(trustDomain) } satisfies AddFederationRequest);
  }
  for (const trustDomain of removed) await ca.call("DELETE", `${paths.federation}/${encodeURIComponent(trustDomain)}`);
  return { added, removed, kept: federation.filter((one) => listed.includes(one.trustDomain) && !isOfHub(one)).map(({ trustDomain }) => trustDomain) };
}

async function readMap(url: URL, roots: readonly string[] | undefined): Promise<readonly string[]> {
  try {
    const { status, text } = await askEndpoint({ method: "GET", url, proof: { profile: "https_web", roots } });
    if (status !== 200) throw new ApiError(`the hub answered with status ${status}, and no map; nothing was changed`);
    return readBundleMap(text);
  } catch (cause) {
    if (cause instanceof FederationError || cause instanceof PkiError) throw new ApiError(`the hub's map is not taken, and nothing was changed: ${cause.message}`, { cause });
    throw cause;
  }
}

/** What is no bundle under the name of its trust domain is not the hub's. */
function readHubFile(folder: string, name: string): readonly Bundle[] {
  if (!name.endsWith(suffix)) return [];
  const trustDomain = name.slice(0, -suffix.length);
  try {
    parseTrustDomain(trustDomain);
    return [parseBundle(trustDomain, readFileSync(join(folder, name), "utf8"))];
  } catch (error) {
    if (error instanceof PkiError) return [];
    throw error;
  }
}

const suffix = ".bundle.json";
const mapName = "trust-domains.json";
const fileMode = 0o644;
