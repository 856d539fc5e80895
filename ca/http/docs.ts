import type { OpenAPIHono } from "@hono/zod-openapi";
import { mediaType } from "../contract/headers.ts";
import type { Answer } from "./answer.ts";
import { renderDocs, type ApiDocument } from "./docs-page.ts";
import { openApiDocument } from "./openapi.ts";
import { operation, type Operation } from "./operation.ts";
import type { CaServices } from "./services.ts";

/** The API's description, for programs and for people; both are made once, when first asked for. */
export function docsOperations(app: OpenAPIHono, { trustDomain }: CaServices): readonly Operation[] {
  let document: Answer | undefined;
  let page: Answer | undefined;
  return [
    operation({
      route: "GET /openapi.json",
      tag: "operations",
      summary: "This API as an OpenAPI document",
      description: "OpenAPI 3.1, made from the schemas that requests are checked against.",
      success: { status: 200, description: "The document.", content: { [mediaType.json]: undefined } },
      handle: () =>
        (document ??= {
          status: 200,
          body: JSON.stringify(openApiDocument(app, trustDomain)),
          headers: { "cache-control": "no-cache" },
        }),
    }),
    operation({
      route: "GET /docs",
      tag: "operations",
      summary: "This API for people",
      description: "One page, rendered here; it loads nothing.",
      success: { status: 200, description: "The page.", content: { "text/html": undefined } },
      handle: async () => (page ??= await renderDocs(openApiDocument(app, trustDomain) as unknown as ApiDocument)),
    }),
  ];
}
