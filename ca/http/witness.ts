import { z } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import type { WitnessKeys } from "../contract/witness.ts";
import { Refusal } from "../refusal.ts";
import { json } from "./answer.ts";
import { readText } from "./body.ts";
import { operation, type Operation } from "./operation.ts";
import type { CaServices } from "./services.ts";

/** This CA as a witness: it cosigns the audit logs of the CAs it is federated with. */
export function witnessOperations({ federation }: CaServices): readonly Operation[] {
  return [
    operation({
      route: "GET /v1/witness",
      tag: "audit",
      summary: "Fetch the keys of log and witness",
      description: "C2SP verifier keys: of this CA's audit log, and of this CA as a witness. Keep them where nobody who can write to a database reaches them.",
      success: { status: 200, description: "Both.", content: { [mediaType.json]: z.object({ logKey: z.string(), witnessKey: z.string() }).openapi("WitnessKeys") satisfies z.ZodType<WitnessKeys> } },
      handle: () => json(federation.witnessKeys),
    }),
    operation({
      route: "POST /v1/witness/add-checkpoint",
      tag: "audit",
      summary: "Have a checkpoint cosigned",
      description:
        "C2SP tlog-witness, for the logs of federated CAs: `old SIZE`, hashes of the consistency proof, an empty line and the checkpoint, as text. Answered with the cosignature's line; " +
        "404 for a log nobody here knows, 403 without its signature, 409 with the size that was cosigned last, 422 when it does not continue that.",
      bodyLimitBytes: maxBodyBytes,
      success: { status: 200, description: "The cosignature.", content: { "text/plain": undefined } },
      async handle({ request }) {
        return federation.witness.addCheckpoint(await readText(request, maxBodyBytes));
      },
    }),
    operation({
      route: "GET /v1/witness/checkpoint",
      tag: "audit",
      summary: "Fetch what was cosigned",
      description: "The newest checkpoint of a log that this CA cosigned: what `countersign audit verify --witness` holds that log against.",
      query: z.strictObject({ origin: z.string().min(1).max(512).openapi({ description: "Name of the log.", example: "countersign.dev/east/log" }) }),
      success: { status: 200, description: "The signed note.", content: { "text/plain": undefined } },
      refusals: ["not_found"],
      async handle({ query: { origin } }) {
        const note = await federation.witness.cosigned(origin);
        if (note === undefined) throw new Refusal("not_found", "This CA has cosigned no checkpoint of that log.");
        return { status: 200, body: note, contentType: "text/plain; charset=utf-8" };
      },
    }),
  ];
}

/** A checkpoint with many signatures, and a proof. */
const maxBodyBytes = 72 * 1024;
