import { mediaType } from "../contract/headers.ts";
import { Refusal } from "../refusal.ts";
import { json } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import { clockConfirmation, confirmClockRequest } from "./schemas/clock.ts";
import type { CaServices } from "./services.ts";

/** What to do about a clock that jumped and stays. */
export function clockOperations({ confirmClock }: CaServices): readonly Operation[] {
  return [
    operation({
      route: "POST /v1/clock",
      tag: "operations",
      summary: "Confirm the CA's clock",
      description:
        "After this machine's clock jumped nothing is issued, since the CA cannot tell whether it was set right or wrong. Send the time of a clock " +
        "that is not this machine's: if both agree, issuing goes on. Where the database has a clock, that one decides.",
      body: { schema: confirmClockRequest, example: { time: "2026-03-01T12:00:00Z" } },
      success: { status: 200, description: "The clocks agree; what was doubted is no longer.", content: { [mediaType.json]: clockConfirmation } },
      refusals: ["clock_uncertain", "store_unavailable"],
      async handle({ caller, body }) {
        // The route's rule has no public case; if it ever had, nobody must not set the time.
        if (caller === undefined) throw new Refusal("unauthenticated", "An admin confirms the clock.");
        return json(await confirmClock(body, caller));
      },
    }),
  ];
}
