import type { IssuedCertificate } from "../../ca/contract/certificates.ts";
import type { Caller } from "../../ca/http/services.ts";
import type { KeptEdges } from "../../ca/reports/receive.ts";
import type { Ca } from "../../ca/ca.ts";
import { newCsr } from "./running-ca.ts";
import { testAuthority } from "./test-ca.ts";

/** A shop in the mesh of trust domain east, for whoever wants something to look at. */
export interface Shop {
  readonly admin: Caller;
  readonly workloads: ReadonlyMap<string, IssuedCertificate>;
}

/** Text of somebody who would like it to be more than text. It is where others may write: in a proxy's version, in a policy's description. */
export const hostile = "<img src=x onerror=\"document.title='owned'\">'</td>${1}";

/** Gives workloads certificates, has them report who talks to whom, makes policies, federates, revokes one and refuses somebody. */
export async function openShop(ca: Ca): Promise<Shop> {
  const admin: Caller = { actor: "token:0000000000000000", name: "test-admin", role: "admin", scope: ["spiffe://east/*"] };
  const workloads = new Map<string, IssuedCertificate>();
  for (const name of ["web", "cart", "catalogue", "payments", "mail", "postgres"]) {
    workloads.set(name, await ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: idOf(name) } }, { caller: admin }));
  }
  const edges: readonly (readonly [string, string, string?])[] = [
    ["web", "cart"], ["web", "catalogue"], ["cart", "payments"], ["cart", "postgres"], ["payments", "mail", "no_route"], ["catalogue", "postgres"], ["", "web", "plain_text"],
  ];
  const nowMs = ca.now().getTime();
  for (const [name, issued] of workloads) {
    const own = edges.filter(([client, server]) => client === name || server === name);
    const row = (await ca.store.certificate(issued.serialNumber))!;
    const kept: KeptEdges = {
      spiffeId: issued.spiffeId,
      edges: own.map(([client, server, reason]) => ({
        direction: client === name ? "outbound" : "inbound", clientId: client && idOf(client), serverId: idOf(server), secured: reason === undefined, ...(reason && { reason }),
        protocol: server === "postgres" ? "tcp" : "http", connections: 2,
      })),
      proxy: { authorityId: row.authorityId, notBefore: issued.notBefore, notAfter: issued.notAfter, receivedAt: new Date(nowMs).toISOString(), version: name === "mail" ? hostile : "0.1.0", revocationSequence: 0, ...(name === "catalogue" && { inboundMode: "permissive" as const }) },
    };
    await ca.store.report({ kind: "edges", name: issued.serialNumber, part: "", body: JSON.stringify(kept), reportedAtMs: name === "postgres" ? nowMs - 25_000 : nowMs, expiresAtMs: nowMs + 600_000 });
  }
  await ca.policies.apply({
    policies: [
      {
        name: "cart", description: "The shop window, and nobody else", workloads: [idOf("cart")],
        rules: [{ name: "items", action: "allow", from: [idOf("web")], methods: ["GET", "POST"], paths: ["/items/*"] }, { name: "no-admin", action: "deny", from: ["*"], paths: ["/admin/*"] }],
      },
      { name: "payments", description: hostile, workloads: [idOf("payments")], rules: [{ action: "allow", from: [idOf("cart")] }] },
    ],
    services: [{ name: "cart", spiffeId: idOf("cart"), addresses: [{ host: "10.0.0.7", port: 4143 }] }],
  }, admin);
  // Nothing listens there: what is known of it is what was given.
  await ca.federation.add({ trustDomain: "west", profile: "https_web", endpointUrl: "https://127.0.0.1:1/", bundle: testAuthority({ trustDomain: "west" }).pem }, admin);
  const former = await ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: idOf("mail") } }, { caller: admin });
  await ca.revoke(former.serialNumber, "keyCompromise", admin);
  ca.recordDenial({ code: "forbidden", method: "POST", path: "/v1/tokens", actor: "spiffe://east/ns/shop/sa/web" });
  return { admin, workloads };
}

export function idOf(name: string): string {
  return `spiffe://east/ns/shop/sa/${name}`;
}
