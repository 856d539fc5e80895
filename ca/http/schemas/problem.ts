import { z } from "@hono/zod-openapi";
import { problemStatus, type Problem, type ProblemCode } from "../../contract/problem.ts";
import type { Is, Kept } from "./kept.ts";

export const problem = z
  .object({
    type: z.string().openapi({ example: "urn:countersign:problem:not_found" }),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    code: z.enum(Object.keys(problemStatus) as [ProblemCode, ...ProblemCode[]]),
  })
  .openapi("Problem", { description: "RFC 9457 problem document: `code` is stable, `detail` is for people." });

/** Does not compile where one of them differs from its type in the contract. */
export type ProblemKeepTheContract = Kept<[
  Is<typeof problem, Problem>,
]>;
