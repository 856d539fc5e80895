import { hash } from "node:crypto";
import { encodeEntry } from "../audit/event.ts";
import type { Linted } from "../lint/rule.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { parseCrl, parseTbsCrl, revokedCertificatesOf, verifyCrl } from "../pki/crl.ts";
import { PkiError } from "../pki/errors.ts";
import { Refusal } from "../refusal.ts";
import type { Act } from "../store/acts.ts";
import type { CrlRow } from "../store/rows/crls.ts";
import type { Store } from "../store/store.ts";
import type { CrlContent, CrlRecipe, CrlTarget } from "./crl-content.ts";
import { lintCrl } from "../lint/crl.ts";

/** A CRL that a key elsewhere is to sign: the bytes, and what they say for whoever confirms them. */
export interface CrlToSign extends Pick<CrlRecipe, "number" | "thisUpdateMs" | "nextUpdateMs"> {
  readonly tbs: Linted<"crl">;
  readonly entries: number;
}

/** The way of a CRL whose key is offline: its bytes go out, are signed in a ceremony, and come back whole. */
export interface CrlCeremony {
  /**
   * What is to be signed now. Nothing is kept: its number is taken when it comes back.
   * @throws {Refusal} not_found | lint_failed
   */
  request(authorityId: string, nextUpdateMs: number): Promise<CrlToSign>;
  /**
   * Publishes a CRL that was signed elsewhere, if it is this authority's, newer than the last, and has all that is revoked now.
   * @param also  goes into the same commit: the end of the request that it answers
   * @throws {Refusal} not_found | invalid_request, {StoreError} crl_superseded | ceremony_unknown
   */
  accept(authorityId: string, der: Uint8Array, actor: string, also?: { readonly entry: string; readonly answers: Act["answers"] }): Promise<CrlRow>;
}

/** Makes CRLs of authorities whose keys sign in ceremonies alone. */
export function crlCeremony({ store, content, refresh, now }: {
  readonly store: Pick<Store, "crl" | "commit">;
  readonly content: CrlContent;
  /** Takes in what was revoked since; resolves to the newest sequence. */
  readonly refresh: () => Promise<number>;
  readonly now: () => Date;
}): CrlCeremony {
  function targetOf(authorityId: string): CrlTarget {
    const target = content.target(authorityId, authoritiesList);
    if (target === undefined) throw new Refusal("not_found", `There is no root or intermediate ${authorityId} here that signs CRLs.`);
    return target;
  }

  async function recipeOf(target: CrlTarget, times: Pick<CrlRecipe, "number" | "thisUpdateMs" | "nextUpdateMs">): Promise<{ recipe: CrlRecipe; previous: CrlRow | undefined }> {
    const previous = await store.crl(target.row.id, target.list);
    const sequence = await refresh();
    return { previous, recipe: { ...times, sequence, droppedSequence: previous?.sequence ?? 0, droppedBeforeMs: previous?.thisUpdateMs ?? 0 } };
  }

  return {
    async request(authorityId, nextUpdateMs) {
      const target = targetOf(authorityId);
      const nowMs = now().getTime();
      const thisUpdateMs = Math.floor(nowMs / 1000) * 1000;
      const { recipe, previous } = await recipeOf(target, { number: nowMs, thisUpdateMs, nextUpdateMs: Math.floor(nextUpdateMs / 1000) * 1000 });
      const { tbs, meant } = content.encode(target, { ...recipe, number: Math.max(recipe.number, (previous?.number ?? 0) + 1) });
      return { tbs: await lintCrl(tbs, meant), number: meant.number, thisUpdateMs, nextUpdateMs: meant.nextUpdateMs, entries: meant.count };
    },

    async accept(authorityId, der, actor, also) {
      const target = targetOf(authorityId);
      const crl = readCrl(der);
      const nowMs = now().getTime();
      try {
        verifyCrl(crl, { issuer: parseCertificate(target.row.certificate), nowMs, of: "authorities" });
      } catch (cause) {
        if (!(cause instanceof PkiError)) throw cause;
        throw refused(`it is refused (${cause.code}): ${cause.message}`, cause);
      }
      if (!crl.scope.onlyAuthorities || crl.number > BigInt(Number.MAX_SAFE_INTEGER)) throw refused("it is not the one that was requested");
      const { recipe, previous } = await recipeOf(target, { number: Number(crl.number), thisUpdateMs: crl.thisUpdateMs, nextUpdateMs: crl.nextUpdateMs });
      if (recipe.number <= (previous?.number ?? 0)) throw refused(`its number ${recipe.number} is not above that of the last one, ${previous?.number}`);
      const expected = parseTbsCrl(content.encode(target, recipe).tbs);
      for (const { serialNumber } of revokedCertificatesOf(expected)) {
        if (!crl.entries.has(serialNumber)) throw refused(`it does not list ${serialNumber}, which was revoked since it was requested: request another one`);
      }
      const row: CrlRow = { authorityId, list: target.list, ...recipe, fingerprint: hash("sha256", crl.der, "hex"), signature: crl.signature, crl: crl.der };
      const times = { thisUpdate: new Date(row.thisUpdateMs).toISOString(), nextUpdate: new Date(row.nextUpdateMs).toISOString() };
      const { list, number, fingerprint } = row;
      const event = { type: "crl.signed", authorityId, list, number, fingerprint, ...times, entries: crl.entries.size } as const;
      await store.commit({
        kind: "publish-crl", crl: row, replaces: previous?.number,
        entries: [encodeEntry(event, actor, nowMs), ...(also === undefined ? [] : [also.entry])],
        ...(also?.answers && { answers: also.answers }),
      });
      return row;
    },
  };
}

function readCrl(der: Uint8Array) {
  try {
    return parseCrl(der);
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw refused(`it cannot be read (${cause.code}): ${cause.message}`, cause);
  }
}

function refused(why: string, cause?: unknown): Refusal {
  return new Refusal("invalid_request", `The CRL is not published: ${why}.`, { cause });
}

const authoritiesList = "authorities.crl";
