import { expect, test } from "vitest";
import type { FederationSummary } from "../../../ca/contract/federation.ts";
import { paths } from "../../../ca/contract/paths.ts";
import { federationPage } from "../../../ca/dashboard/federation.ts";
import type { PageContext } from "../../../ca/dashboard/page.ts";

const nowMs = Date.UTC(2026, 0, 2);
const at = "2026-01-01T22:00:00.000Z";
const west: FederationSummary = { trustDomain: "west", profile: "https_spiffe", endpointUrl: "https://west.example/v1/bundle", addedAt: at, addedBy: "token:0", witnessKey: "key" };

/** The page as a reader has it: its text. */
async function shown(one: Partial<FederationSummary>): Promise<string> {
  const answers: Readonly<Record<string, unknown>> = { [paths.federation]: { federation: [{ ...west, ...one }] }, [paths.authorities]: { authorities: [] } };
  const context = { nowMs, ask: { call: async (_method: string, path: string) => answers[path] }, services: { trustDomain: "east" }, caller: { role: "auditor" } } as unknown as PageContext;
  const { body } = await federationPage.show(context);
  return String(await body).replaceAll(/<[^>]*>/g, " ").replaceAll(/\s+/g, " ");
}

test.each<[string, Partial<FederationSummary>, string]>([
  ["cosigns our audit log", { cosigned: { size: 1234, at } }, "Our audit log √ cosigned up to entry 1,234, 2 h ago"],
  ["did and does not now", { cosigned: { size: 5, at, error: "it does not answer" } }, "‼ cosigned before up to entry 5, 2 h ago it does not answer"],
  ["never did", { cosigned: { size: 0, error: "it does not answer" } }, "‼ not cosigned yet it does not answer"],
  ["remembers another history", { cosigned: { size: 5, at, contradicts: true, error: "it has cosigned another root" } }, "× another history it has cosigned another root"],
  ["is of other software", { witnessKey: undefined as never }, "its CA is no witness of it"],
  ["came by a hub", { hub: "https://hub.example" }, "Came by the hub https://hub.example"],
])("a trust domain whose CA %s is shown so", async (_, one, expected) => {
  expect(await shown(one)).toContain(expected);
});
