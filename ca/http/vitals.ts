import { z } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import type { Vitals } from "../contract/vitals.ts";
import { json } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import type { CaServices } from "./services.ts";

/** How the CA is, for `countersign check`. */
export function vitalsOperations(services: Pick<CaServices, "vitals">): readonly Operation[] {
  return [
    operation({
      route: "GET /v1/vitals",
      tag: "operations",
      summary: "How the CA is",
      description:
        "What one replica knows of its own health and of the store that all of them share: tables, disk, standbys, keys, CRLs, " +
        "attestors, ACME, the witnessed log, other replicas. `countersign check` judges it.",
      success: { status: 200, description: "As of now; keys in KMS and attestors as of the last ten seconds.", content: { [mediaType.json]: vitalsSchema } },
      handle: async () => json(await services.vitals()),
    }),
  ];
}

const time = z.iso.datetime({ precision: 3 });

const vitalsSchema = z
  .object({
    time, trustDomain: z.string(), version: z.string(), listensBeyondLoopback: z.boolean(), publicUrl: z.string(),
    store: z.object({
      kind: z.enum(["sqlite", "postgres"]), answeredInMs: z.number(),
      schema: z.object({ applied: z.number().int(), known: z.number().int() }).openapi({ description: "Migrations." }),
      durable: z.boolean(),
      disk: z.object({ freeBytes: z.number(), totalBytes: z.number() }).optional(),
      sizeBytes: z.number().optional().openapi({ description: "Of the database, where its disk is another machine's." }),
      standbys: z.object({
        count: z.number().int(), lag: z.object({ seconds: z.number(), bytes: z.number() }).optional().openapi({ description: "Absent where the CA's role may not see it (pg_monitor)." }),
        missing: z.array(z.object({ slot: z.string(), keptBytes: z.number() })).readonly().openapi({ description: "Replication slots that nobody is connected to." }),
      }).optional(),
      clockOffsetMs: z.number().optional().openapi({ description: "The database's clock less the CA's." }),
    }),
    keys: z.array(z.object({ authorityId: z.string(), location: z.enum(["sealed", "kms", "pkcs11", "offline", "upstream"]), keyId: z.string().optional().openapi({ description: "What it is called there." }), trouble: z.string().optional() })).readonly(),
    sealing: z.object({ location: z.enum(["kms", "here"]), keyId: z.string().optional() }).optional().openapi({ description: "What seals the private keys in the store; `here`: a key that the CA's process was given." }),
    crls: z.array(z.object({ authorityId: z.string(), list: z.string(), number: z.number(), thisUpdate: time, nextUpdate: time })).readonly(),
    attestors: z.array(z.object({
      name: z.string(), type: z.enum(["kubernetes", "oidc", "x509", "aws-iam"]), trouble: z.string().optional(), vouches: z.boolean(), notBefore: time.optional(), notAfter: time.optional(),
    })).readonly(),
    acme: z.object({
      resolver: z.string().optional(), accounts: z.string().optional(), failures: z.array(z.object({ name: z.string(), challenge: z.string(), why: z.string(), at: time })).readonly(),
    }).optional().openapi({ description: "What is wrong with ACME's DNS server and accounts, and names that were not proved in the last hour." }),
    replicas: z.array(z.object({
      address: z.string().openapi({ description: "Name of its host, and port." }), version: z.string(), startedAt: time, heardAt: time, answers: z.boolean().openapi({ description: "The one that made this answer." }),
      silent: z.boolean().openapi({ description: "Not heard of for a minute." }), leases: z.array(z.string()).readonly().openapi({ description: "What one replica does at a time, and this one does now." }),
    })).readonly().optional().openapi({ description: "Processes that share the database; not on SQLite." }),
    log: z.object({ size: z.number().int(), witnessedSize: z.number().int().optional() }),
    upstream: z.object({
      url: z.string(), trustDomain: z.string(), succeededAt: time.optional(), failures: z.number().int(), error: z.string().optional(),
    }).optional().openapi({ description: "The CA that signs this one's issuers, and how the last look at it went." }),
    webCertificate: z.object({
      names: z.array(z.string()).readonly(), notBefore: time, notAfter: time, trouble: z.string().optional(),
    }).optional().openapi({ description: "The certificate that the bundle endpoint shows for other names than the API's own." }),
  })
  .openapi("Vitals");

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
/** As in `schemas.ts`. */
export const vitalsSchemaKeepsTheContract: Same<z.infer<typeof vitalsSchema>, Vitals> = true;
