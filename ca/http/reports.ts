import { mediaType, type Report } from "../contract.ts";
import { Refusal } from "../refusal.ts";
import { json, noContent } from "./answer.ts";
import { operation, type Operation } from "./operation.ts";
import { edgeList, report, reportRequest } from "./report-schemas.ts";
import { isInView } from "./scope.ts";
import type { CaServices } from "./services.ts";

/** What proxies report of the traffic, and what comes of it. */
export function reportOperations(services: CaServices): readonly Operation[] {
  return [
    operation({
      route: "POST /v1/reports",
      tag: "traffic",
      summary: "Report edges or tapped requests",
      description:
        "A proxy tells who talks to its workload and to whom that talks, or what a tap brought. It is kept for some minutes, and not audited. " +
        "Only of one's own: the report's text is signed as a renewal proof is, for the purpose `report`.",
      body: { schema: reportRequest, example: { report: '{"type":"edges","reportedAt":"2026-11-21T05:00:00.000Z","edges":[]}', proof: "eyJhbGciOi..." } },
      bodyLimitBytes: maxReportBytes,
      success: { status: 204, description: "Taken down." },
      refusals: ["proof_refused", "certificate_expired", "certificate_revoked", "unauthenticated", "forbidden", "not_found"],
      async handle({ body }) {
        await services.report(body, parseReport(body.report));
        return noContent();
      },
    }),
    operation({
      route: "GET /v1/edges",
      tag: "traffic",
      summary: "List who talks to whom",
      description:
        "Put together from what proxies reported within the last minutes; secured only where every side that reported says so. An operator sees " +
        "the edges that begin or end in its scope.",
      success: { status: 200, description: "All of them.", content: { [mediaType.json]: edgeList } },
      handle: async ({ caller }) => json(await services.edges((spiffeId) => isInView(caller, spiffeId))),
    }),
  ];
}

/** The text is what was signed, so it is taken apart by itself. @throws {Refusal} invalid_request */
function parseReport(text: string): Report {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Refusal("invalid_request", "report: it is not JSON.");
  }
  const parsed = report.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Refusal("invalid_request", `report.${issue?.path.join(".") ?? ""}: ${issue?.message ?? "it is malformed"}`.slice(0, maxDetailLength));
}

/** A report, as text in text, and a proof with a chain. */
const maxReportBytes = 160 * 1024;
const maxDetailLength = 400;
