import { isPublished } from "../authority-tree.ts";
import { activateIssuer, authorityIdOf, authorityRow, outsideRow } from "../authority/active-issuer.ts";
import type { AuthorityDraft } from "../authority/change.ts";
import type { AuthorityCraft } from "../authority/craft.ts";
import { AuthorityError } from "../authority/errors.ts";
import { tryIssuer } from "../authority/issue-authority.ts";
import type { CaConfig } from "../config/config.ts";
import { apiProfile } from "../issuance/profile.ts";
import { LintRefusal } from "../lint/rule.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { parseIpAddress } from "../pki/ip-address.ts";
import type { Sealing } from "../signer/sealing.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { Store } from "../store/store.ts";
import { UpstreamError } from "./errors.ts";
import type { ObtainedIssuer } from "./obtain-issuer.ts";

export interface UpstreamCraftDeps {
  readonly config: CaConfig;
  readonly sealing: Sealing;
  readonly store: Pick<Store, "holdersBehind" | "revocations" | "revocationSequence">;
  /** Has an issuer signed. @throws {UpstreamError} */
  readonly obtain: () => Promise<ObtainedIssuer>;
}

/**
 * Makes issuers as a CA does whose root is another's: that one signs, by which of its authorities it likes, and what stands above the issuer is
 * drafted as that one has it. One by a root that holders here do not trust yet is kept back while the present one lasts.
 */
export function upstreamCraft(own: AuthorityCraft, { config, sealing, store, obtain }: UpstreamCraftDeps): AuthorityCraft {
  /** Signed, and waiting for holders to trust its root. */
  let waiting: ObtainedIssuer | undefined;
  /** Of our deny-list, which has what the CA above revoked: looked through up to here, and the issuer was not on it. */
  let deniedUpTo = 0;
  /** When it was first found to be of no use, as for constraints that do not let us issue. */
  let refusedAtMs: number | undefined;

  async function next(nowMs: number): Promise<ObtainedIssuer> {
    const kept = waiting;
    const isAsGood = refusedAtMs === undefined || nowMs - refusedAtMs < askAgainMs;
    if (kept !== undefined && kept.certificate.notAfterMs - nowMs > config.issuerRenewBeforeMs && isAsGood && !await isDenied(kept)) return kept;
    refusedAtMs = undefined;
    deniedUpTo = await store.revocationSequence();
    return (waiting = await obtain());
  }

  async function isDenied({ certificate: { serialNumber } }: ObtainedIssuer): Promise<boolean> {
    for (; ;) {
      const rows = await store.revocations({ after: deniedUpTo, limit: pageRows });
      if (rows.some((row) => row.serialNumber === serialNumber)) return true;
      deniedUpTo = rows.at(-1)?.sequence ?? deniedUpTo;
      if (rows.length < pageRows) return false;
    }
  }

  return {
    ...own,
    async addIssuer(draft, _parent, rows, nowMs) {
      const issuer = await next(nowMs);
      const root = publishedRoot(issuer, rows);
      if (root === undefined) {
        const id = rootIdOf(issuer);
        // Given up since it signed: that one would be waited for as long as it lives. One that is not known yet comes with the next look.
        if (rows.some((row) => row.id === id)) waiting = undefined;
        throw new UpstreamError("upstream_root_unknown", `the CA above this one signs by the root ${id}, which is not in the bundle that it published; its bundle is looked at again soon`);
      }
      if (root.state === "prepared" && mayWait(rows, config, nowMs)) {
        const [behind] = await store.holdersBehind({ sequence: root.publishedSequence ?? Number.MAX_SAFE_INTEGER, nowMs, limit: 1 });
        if (behind !== undefined) {
          throw new UpstreamError("upstream_root_unknown", `the CA above this one signs by the root ${root.id} now, which ${behind.spiffeId} (${behind.serialNumber}) and maybe others here do not trust yet; the present issuer stays until they do`);
        }
      }
      const row = await draftIssuer(draft, issuer, root, rows, { config, sealing, nowMs }).catch((error: unknown) => {
        refusedAtMs ??= nowMs;
        throw error;
      });
      draft.create(row);
      waiting = undefined;
    },
  };
}

/**
 * Drafts what stands above an issuer as the CA above has it by now.
 * @returns the issuer's own row
 * @throws {UpstreamError} upstream_answer where the path does not hold, or would not hold for what it signs
 */
export async function draftIssuer(
  draft: Pick<AuthorityDraft, "create" | "move">, { certificate, privateKey, above }: ObtainedIssuer, root: AuthorityRow, rows: readonly AuthorityRow[],
  { config, sealing, nowMs }: { readonly config: CaConfig; readonly sealing: Sealing; readonly nowMs: number },
): Promise<AuthorityRow> {
  await tryOut({ certificate, privateKey, above }, parseCertificate(root.certificate), config, nowMs);
  if (root.state === "prepared") {
    for (const before of activesOf("root", rows)) draft.move(before, "retiring");
    draft.move(root, "active");
  }
  const [intermediate] = above;
  for (const before of activesOf("intermediate", rows)) if (before.id !== (intermediate && authorityIdOf(intermediate))) draft.move(before, "retiring");
  if (intermediate !== undefined && !rows.some(({ id }) => id === authorityIdOf(intermediate))) {
    draft.create({ ...outsideRow("intermediate", intermediate, { kind: "upstream" }, nowMs), parentId: root.id });
  }
  return authorityRow("issuer", certificate, privateKey, sealing, nowMs, intermediate === undefined ? root.id : authorityIdOf(intermediate));
}

/** The first certificate it signs is that of our own API: that it may name it is part of the trial. */
async function tryOut({ certificate, privateKey, above }: ObtainedIssuer, root: Certificate, config: CaConfig, nowMs: number): Promise<void> {
  const profile = apiProfile(config);
  const { trustDomain, apiDnsNames, apiIpAddresses } = config;
  try {
    await tryIssuer(activateIssuer(certificate, privateKey, profile, trustDomain), above, root, { trustDomain, nowMs, profile }, { dnsNames: apiDnsNames, ipAddresses: apiIpAddresses.map(parseIpAddress) });
  } catch (cause) {
    if (!(cause instanceof AuthorityError || cause instanceof LintRefusal)) throw cause;
    throw new UpstreamError("upstream_answer", `the issuer that the CA above this one signed does not hold for this CA's API (${[...apiDnsNames, ...apiIpAddresses].join(", ")}): ${cause.message}. If it is held to DNS names, set publicUrl and apiNames to some of these, or have it held to others: there, countersign issuer invite --dns-domain`, { cause });
  }
}

function publishedRoot(issuer: ObtainedIssuer, rows: readonly AuthorityRow[]): AuthorityRow | undefined {
  return rows.find((row) => row.id === rootIdOf(issuer) && row.type === "root" && isPublished(row));
}

function rootIdOf({ certificate, above }: ObtainedIssuer): string {
  return signerIdOf(above.at(-1) ?? certificate);
}

/** The ID of the authority that signed a certificate. */
export function signerIdOf({ authorityKeyIdentifier }: Certificate): string {
  return Buffer.from(authorityKeyIdentifier ?? []).toString("hex");
}

/** As long as the active issuer outlives what is issued by it, and its root has not been revoked. */
function mayWait(rows: readonly AuthorityRow[], { certificateLifetimeMaxMs, clockSkewMs }: CaConfig, nowMs: number): boolean {
  return activesOf("root", rows).length > 0 && activesOf("issuer", rows).some(({ notAfterMs }) => notAfterMs - nowMs > certificateLifetimeMaxMs + clockSkewMs);
}

function activesOf(type: AuthorityRow["type"], rows: readonly AuthorityRow[]): readonly AuthorityRow[] {
  return rows.filter((row) => row.type === type && row.state === "active");
}

/** Somebody may have put right over there what kept the last one from being taken; each that is asked for is one more that was signed. */
const askAgainMs = 10 * 60_000;
const pageRows = 1000;
