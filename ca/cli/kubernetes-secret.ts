import { secretManifest, type SecretPlace, type SecretScheme } from "./issuer-secret.ts";
import type { IssuerTarget } from "./issuer-target.ts";
import { kubernetesApi, type About, type KubernetesAccess } from "./kubernetes.ts";

/** A Secret with an issuer, kept through the Kubernetes API: made if it is not there, its other members left alone. */
export function kubernetesTarget(access: KubernetesAccess, scheme: SecretScheme, place: SecretPlace): IssuerTarget {
  const api = kubernetesApi(access);
  const path = `/api/v1/namespaces/${place.namespace}/secrets/${place.name}`;
  const about: About = { name: `Secret ${place.namespace}/${place.name}`, hints };
  return {
    name: about.name,
    read: async () => {
      const { data = {} } = (await api.read<{ data?: Readonly<Record<string, string>> }>(path, about)) ?? {};
      const [chain, key] = [data[scheme.certificate], data[scheme.key]];
      return chain === undefined || key === undefined ? undefined : { chain: decode(chain), key: decode(key) };
    },
    write: (material) => api.apply(path, secretManifest(scheme, place, material), about),
  };
}

function decode(base64: string): string {
  return Buffer.from(base64, "base64").toString("utf8");
}

const hints: Readonly<Record<number, string>> = {
  403: "the service account needs get, create and patch on this Secret",
  422: "a Secret of another type is there already; delete it, or name the scheme it has with --secret",
};
