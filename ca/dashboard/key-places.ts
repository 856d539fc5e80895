import { html } from "hono/html";
import { authorityTypes, type AuthoritySummary } from "../contract/authorities.ts";
import type { KeyVitals, Vitals } from "../contract/vitals.ts";
import { card, chip, table, type Markup } from "./marks.ts";

/** Where the key of each authority that signs or will lives, what it is called there, and whether it is at hand; nothing for whose role may not read it. */
export function keyPlacesCard(vitals: Pick<Vitals, "keys" | "sealing"> | undefined, authorities: readonly Pick<AuthoritySummary, "id" | "type" | "state">[]): Markup | string {
  if (vitals === undefined) return "";
  const { keys, sealing } = vitals;
  const of = ({ authorityId }: KeyVitals) => authorities.find(({ id }) => id === authorityId);
  const rankOf = (key: KeyVitals): number => authorityTypes.indexOf(of(key)?.type ?? "jwt");
  const rows = [...keys].sort((a, b) => rankOf(a) - rankOf(b)).map((key) => {
    const { authorityId, location, keyId, trouble } = key;
    const { type = "authority", state = "" } = of(key) ?? {};
    return [
      html`${type} <span class="mono">${authorityId.slice(0, 12)}</span> <span class="soft">${state}</span>`, keyPlaces[location], named(keyId),
      trouble === undefined ? chip("ok", location === "offline" ? "for a ceremony" : "at hand") : html`${chip("failed", "not at hand")}<br><span class="failed-text">${trouble}</span>`,
    ];
  });
  const seal = sealing && ["what seals the keys in the store", sealing.location === "kms" ? keyPlaces.kms : "given to this process", named(sealing.keyId), chip("ok", "opened")];
  return card("key-places-heading", "Where keys live", table("Private keys, as the replica that answered reaches them", ["Of", "Where", "Called", "State"], [...rows, ...(seal ? [seal] : [])]));
}

function named(keyId: string | undefined): Markup {
  return keyId === undefined ? html`<span class="soft">-</span>` : html`<span class="mono">${keyId}</span>`;
}

export const keyPlaces: Readonly<Record<AuthoritySummary["key"], string>> = {
  sealed: "in the store, sealed", kms: "AWS KMS", pkcs11: "PKCS#11 token", offline: "offline", upstream: "the CA above",
};
