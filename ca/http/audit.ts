import { z } from "@hono/zod-openapi";
import { consistencyProof as proveConsistency, inclusionProof as proveInclusion } from "../audit/proof.ts";
import type { AuditEntryPage, ConsistencyProof, InclusionProof } from "../contract/audit.ts";
import { mediaType } from "../contract/headers.ts";
import { Refusal } from "../refusal.ts";
import { json, type Answer } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import { defaultLimit, limit, logPosition } from "./parameters.ts";
import { auditEntryPage, consistencyProof, inclusionProof } from "./schemas/audit.ts";
import type { CaServices } from "./services.ts";

/** The audit log: what was done, and the proof that nothing of it changed. */
export function auditOperations({ store }: CaServices): readonly Operation[] {
  return [
    operation({
      route: "GET /v1/audit/entries",
      tag: "audit",
      summary: "Read the audit log",
      description:
        "Entries from `start`, ascending. `body` holds the exact bytes that were hashed, so whoever keeps entries " +
        "can check them against a checkpoint.",
      query: z.strictObject({ start: logPosition("Index of the first entry; default 0.").optional(), limit }),
      success: {
        status: 200,
        description: "A page; shorter than `limit` at the end of the log.",
        content: { [mediaType.json]: auditEntryPage },
      },
      async handle({ query }) {
        const rows = await store.entries({ start: query.start ?? 0, limit: query.limit ?? defaultLimit });
        const entries = rows.map(({ index, body, leafHash }) => ({
          index,
          body,
          leafHash: Buffer.from(leafHash).toString("base64"),
        }));
        return json({ entries } satisfies AuditEntryPage);
      },
    }),
    operation({
      route: "GET /v1/audit/checkpoint",
      tag: "audit",
      summary: "Fetch the newest checkpoint",
      description:
        "Size and root of the log as a C2SP signed note. Keep checkpoints where nobody who can write to the " +
        "database reaches them.",
      success: { status: 200, description: "The signed note.", content: { "text/plain": undefined } },
      refusals: ["not_found"],
      async handle(): Promise<Answer> {
        const { note } = await newestCheckpoint();
        return { status: 200, body: note, contentType: "text/plain; charset=utf-8" };
      },
    }),
    operation({
      route: "GET /v1/audit/proof",
      tag: "audit",
      summary: "Prove inclusion or consistency",
      description:
        "With `index`: that the entry is in the log of `size` entries. With `oldSize`: that the log of `size` " +
        "entries begins with that of `oldSize`. " +
        "`size` is that of the newest checkpoint unless given.",
      query: z.strictObject({
        index: logPosition("Entry to prove the inclusion of.").optional(),
        oldSize: logPosition("Size to prove consistency with.").optional(),
        size: logPosition("Size of the log to prove it for.").optional(),
      }),
      success: {
        status: 200,
        description: "The proof.",
        content: { [mediaType.json]: z.union([inclusionProof, consistencyProof]) },
      },
      async handle({ query: { index, oldSize, size: askedSize } }) {
        if ((index === undefined) === (oldSize === undefined)) {
          throw new Refusal(
            "invalid_request",
            "Ask with index= for an inclusion proof or with oldSize= for a consistency proof, one of them.",
          );
        }
        const { size: newestSize } = await newestCheckpoint();
        const size = askedSize ?? newestSize;
        // Also the bound on the work: hashes are read for sizes that were sealed, never for what a caller makes up.
        if (size > newestSize) throw new Refusal("invalid_request", `size: the log has ${newestSize} entries.`);
        if (index !== undefined)
          return json({
            index,
            size,
            hashes: encode(await proveInclusion(index, size, store)),
          } satisfies InclusionProof);
        const hashes = encode(await proveConsistency(oldSize ?? 0, size, store));
        return json({ oldSize: oldSize ?? 0, size, hashes } satisfies ConsistencyProof);
      },
    }),
  ];

  async function newestCheckpoint() {
    const newest = await store.checkpoint();
    if (newest === undefined) throw new Refusal("not_found", "The log has no checkpoint yet: it has no entry.");
    return newest;
  }
}

function encode(hashes: readonly Uint8Array[]): readonly string[] {
  return hashes.map((hash) => Buffer.from(hash).toString("base64"));
}
