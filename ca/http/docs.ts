import { mediaType } from "../contract/headers.ts";
import type { Answer } from "./answer.ts";
import { renderDocs, type ApiDocument } from "./docs-page.ts";
import { openApiDocument } from "./openapi.ts";
import { operation, type Operation } from "./operation.ts";
import type { CaServices } from "./services.ts";

/** The API's description, for programs and for people; both are made once, when first asked for. */
export function docsOperations({ trustDomain }: CaServices, everyOperation: () => Promise<readonly Operation[]>): readonly Operation[] {
  let document: Answer | undefined;
  let page: Answer | undefined;
  const describe = async () => openApiDocument(await everyOperation(), trustDomain);
  return [
    operation({
      route: "GET /openapi.json",
      tag: "operations",
      summary: "This API as an OpenAPI document",
      description: "OpenAPI 3.1, made from the schemas that requests are checked against.",
      success: { status: 200, description: "The document.", content: { [mediaType.json]: undefined } },
      handle: async () =>
        (document ??= {
          status: 200,
          body: JSON.stringify(await describe()),
          headers: { "cache-control": "no-cache" },
        }),
    }),
    operation({
      route: "GET /docs",
      tag: "operations",
      summary: "This API for people",
      description: "One page, rendered here; it loads nothing.",
      success: { status: 200, description: "The page.", content: { "text/html": undefined } },
      handle: async () => (page ??= await renderDocs((await describe()) as unknown as ApiDocument)),
    }),
  ];
}
