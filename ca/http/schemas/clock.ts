import { z } from "@hono/zod-openapi";
import type { ClockConfirmation, ConfirmClockRequest } from "../../contract/clock.ts";
import type { Is, Kept } from "./kept.ts";
import { instant } from "./members.ts";

export const confirmClockRequest = z
  .strictObject({ time: z.iso.datetime().openapi({ description: "By a clock that is not the CA's, UTC.", example: "2026-03-01T12:00:00Z" }) })
  .openapi("ConfirmClockRequest");

export const clockConfirmation = z
  .object({ time: instant.openapi({ description: "The CA's." }), doubt: z.string().optional().openapi({ description: "What was wrong with it until now." }) })
  .openapi("ClockConfirmation");

/** Does not compile where one of them differs from its type in the contract. */
export type ClockKeepTheContract = Kept<[
  Is<typeof confirmClockRequest, ConfirmClockRequest>,
  Is<typeof clockConfirmation, ClockConfirmation>,
]>;
