import { html } from "hono/html";
import type { Vitals } from "../contract/vitals.ts";
import { card, chip, table, when, type Markup } from "./marks.ts";

/** The processes that serve this CA; nothing where one has the database for itself, or the role may not read it. */
export function replicasCard({ version, replicas = [] }: Pick<Vitals, "version" | "replicas">, nowMs: number): Markup | string {
  if (replicas.length === 0) return "";
  return card("replicas-heading", "Replicas", table("Processes on one database, each by its own word; this page is by the one that answered", ["Replica", "Version", "State", "Does for all", "Started"],
    replicas.map((one) => [
      html`<span class="id">${one.address}</span>${one.answers ? html` ${chip("plain", "answered")}` : ""}`,
      one.version === version ? version : chip("warning", `${one.version}, another version`),
      html`${one.silent ? chip("warning", "silent") : chip("ok", "there")}${one.answers ? "" : html` <span class="soft">heard of ${when(one.heardAt, nowMs)}</span>`}`,
      one.leases.length === 0 ? html`<span class="soft">-</span>` : one.leases.map((lease) => works[lease] ?? lease).join(", "),
      when(one.startedAt, nowMs),
    ])));
}

/** Leases, as people say what is done under them. */
const works: Readonly<Record<string, string>> = { authority: "rotation", federation: "federation", prune: "pruning", publish: "publishing", upstream: "the CA above", maintenance: "maintenance" };
