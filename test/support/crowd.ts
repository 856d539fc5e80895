import { randomBytes } from "node:crypto";
import { encodeEntry } from "../../ca/audit/event.ts";
import type { Ca } from "../../ca/ca.ts";
import type { KeptEdges } from "../../ca/reports/receive.ts";
import type { NewCertificate } from "../../ca/store/rows/certificates.ts";

/**
 * Fills a CA's store with workloads that live, and with what their proxies reported: each calls two others of its namespace, as a tree
 * does, and its like in the namespace before. What is signed is not: nobody looks at it.
 */
export async function openCrowd(ca: Ca, { workloads, ofNamespace, version }: { readonly workloads: number; readonly ofNamespace: number; readonly version: string }): Promise<void> {
  const nowMs = ca.now().getTime();
  const authorityId = (await ca.authorities()).find(({ type, state }) => type === "issuer" && state === "active")!.id;
  const namespaces = Math.ceil(workloads / ofNamespace);
  const idOf = (index: number): string => crowdId(Math.floor(index / ofNamespace), index % ofNamespace);
  const at = (namespace: number, place: number): readonly number[] => (namespace >= 0 && namespace < namespaces && place >= 0 && place < ofNamespace ? [namespace * ofNamespace + place] : []);
  const serials = Array.from({ length: workloads }, () => randomBytes(16).toString("hex"));
  const [notBeforeMs, notAfterMs] = [nowMs - 60_000, nowMs + 23 * 3_600_000];
  const [notBefore, notAfter, receivedAt] = [notBeforeMs, notAfterMs, nowMs].map((ms) => new Date(ms).toISOString()) as [string, string, string];
  for (let start = 0; start < workloads; start += atOnce) {
    const indexes = Array.from({ length: Math.min(atOnce, workloads - start) }, (_, offset) => start + offset);
    await Promise.all(indexes.map((index) => {
      const certificate: NewCertificate = {
        serialNumber: serials[index]!, spiffeId: idOf(index), dnsNames: [], notBeforeMs, notAfterMs, authorityId, attestation: "join-token", certificate: randomBytes(64),
        keyFingerprint: randomBytes(32), issuedAtMs: nowMs,
      };
      const entry = encodeEntry({
        type: "certificate.issued", serialNumber: certificate.serialNumber, spiffeId: certificate.spiffeId, authorityId, attestation: "join-token", fingerprint: "00", keyFingerprint: "00", notBefore, notAfter,
      }, "system", nowMs);
      return ca.store.commit({ kind: "issue", certificate, entries: [entry] });
    }));
    await Promise.all(indexes.map((index) => {
      const [namespace, place] = [Math.floor(index / ofNamespace), index % ofNamespace];
      const called = [...at(namespace, 2 * place + 1), ...at(namespace, 2 * place + 2), ...at(Math.ceil(namespace / 4) - 1, place)];
      const callers = [...at(namespace, Math.ceil(place / 2) - 1), ...[1, 2, 3, 4].flatMap((child) => at(4 * namespace + child, place))];
      const edge = { secured: true, protocol: "http", connections: 1 } as const;
      const kept: KeptEdges = {
        spiffeId: idOf(index),
        edges: [
          ...called.map((one) => ({ direction: "outbound" as const, clientId: idOf(index), serverId: idOf(one), ...edge })),
          ...callers.map((one) => ({ direction: "inbound" as const, clientId: idOf(one), serverId: idOf(index), ...edge })),
        ],
        proxy: { authorityId, notBefore, notAfter, receivedAt, version, inboundMode: "strict", startedAt: notBefore, revocationSequence: 0 },
      };
      return ca.store.report({ kind: "edges", name: serials[index]!, part: "", body: JSON.stringify(kept), reportedAtMs: nowMs, expiresAtMs: nowMs + 600_000 });
    }));
  }
}

export function crowdId(namespace: number, workload: number): string {
  return `spiffe://east/ns/team-${namespace}/sa/app-${workload}`;
}

const atOnce = 1000;
