import { z } from "@hono/zod-openapi";
import { roles } from "../../contract/roles.ts";

/** What a caller may do. */

export const role = z
  .enum(roles)
  .openapi({
    description: "admin: everything. operator: issue, revoke, make join tokens and read, all within its scope. auditor: read everything.",
  });

export const scope = z
  .array(z.string().min(1).max(2048))
  .max(64)
  .readonly()
  .openapi({
    description:
      "SPIFFE IDs, or prefixes ending in `/*`. An operator gives DNS names only where its scope has them too: " +
      "`dns:cart.shop.svc`, or `dns:*.shop.svc` for all below; and has issuers signed only for what it names as `issuer:west`.",
    example: ["spiffe://east/ns/shop/*", "dns:*.shop.svc"],
  });
