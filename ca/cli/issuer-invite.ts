import { encodeUpstream } from "../config/upstream.ts";
import type { OperatorList } from "../contract/operators.ts";
import { paths } from "../contract/paths.ts";
import type { CreatedToken } from "../contract/tokens.ts";
import type { Vitals } from "../contract/vitals.ts";
import { parseBootstrap } from "../pki/bootstrap.ts";
import { ApiError, type Api } from "./api.ts";
import { seconds } from "./arguments.ts";
import type { Output } from "./output.ts";
import { minute } from "./table.ts";

export interface Invitation {
  /** Of the CA that is invited. */
  readonly trustDomain: string;
  /** Its issuers have no URI constraint. */
  readonly unconstrained: boolean;
  /** Its issuers may give DNS names in these only; undefined: any. */
  readonly dnsDomains: readonly string[] | undefined;
  readonly ttl: string | undefined;
  readonly tls: "spiffe" | "web";
}

/**
 * Lets the CA of another cluster have its issuers signed here: an identity of this trust domain gets the right to those of that one, and the
 * string has the join token for it. Whatever fails in between, it may be repeated.
 * @throws {ApiError}
 */
export async function invite(client: Pick<Api, "call">, { trustDomain, unconstrained, dnsDomains = [], ttl, tls }: Invitation, out: Output): Promise<void> {
  const { trustDomain: own } = await client.call<Vitals>("GET", paths.vitals);
  const spiffeId = `spiffe://${own}/cluster/${trustDomain}`;
  await giveRights(client, spiffeId, [`${unconstrained ? "cluster-unconstrained" : "cluster"}:${trustDomain}`, ...dnsDomains.flatMap((domain) => [`dns:${domain}`, `dns:*.${domain}`])]);
  const created = await client.call<CreatedToken>("POST", paths.tokens, { type: "join", spiffeId, ...(ttl !== undefined && { expiresInSeconds: seconds(ttl, "--ttl") }) });
  const { caUrl: url, token, rootFingerprint, trustDomain: parentTrustDomain } = parseBootstrap(created.bootstrap ?? "");
  const invitation = encodeUpstream({ url, parentTrustDomain, rootFingerprint, token, trustDomain, tls });
  out.print({ invitation, trustDomain, spiffeId, expiresAt: created.expiresAt }, `${invitation}\n`);
  out.explain(`For the CA of ${trustDomain}, good once, until ${minute(created.expiresAt)}; it asks as
${spiffeId}.
There: countersign serve --upstream-file FILE, and this string in FILE (0600).
${unconstrained ? unconstrainedWarning : ""}To shut it out later, revoke its issuers (countersign issuer list), and:
countersign operator remove ${spiffeId}
`);
}

async function giveRights(client: Pick<Api, "call">, spiffeId: string, scope: readonly string[]): Promise<void> {
  try {
    await client.call("POST", paths.operators, { spiffeId, role: "operator", scope });
  } catch (error) {
    if (!(error instanceof ApiError && error.status === conflict)) throw error;
    const { operators } = await client.call<OperatorList>("GET", paths.operators);
    const known = operators.find((one) => one.spiffeId === spiffeId);
    if (known?.role === "operator" && known.scope?.join() === scope.join()) return;
    throw new ApiError(`${spiffeId} has other rights already (${known?.scope?.join(", ") ?? known?.role ?? "unknown"}); take them back first: countersign operator remove ${spiffeId}`, { cause: error });
  }
}

const conflict = 409;
const unconstrainedWarning = `Without the URI constraint, only software that looks at trust domains, as
Countersign's proxies do, keeps it from naming workloads of other clusters.
`;
