import { createHash } from "node:crypto";
import { dashboardScript } from "./script.ts";
import { dashboardStyle } from "./style.ts";

/** A file that pages load: named by what is in it, so that a browser keeps it for good and never keeps an old one. */
export interface Asset {
  readonly body: string;
  readonly contentType: string;
  readonly etag: string;
}

const digestOf = (text: string): string => createHash("sha256").update(text).digest("base64url").slice(0, 16);

const icon = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M12 1 3 4.500V11c0 5.500 3.800 9.700 9 12 5.200-2.300 9-6.500 9-12V4.500z" fill="#0b57d0"/><path d="m7 11.200 3 3 3.500-4.700M11.200 15l1.300 1.200 4.500-6" fill="none" stroke="#fff" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></svg>';

export const stylePath = `/ui/style-${digestOf(dashboardStyle)}.css`;
export const scriptPath = `/ui/script-${digestOf(dashboardScript)}.js`;
export const iconPath = `/ui/icon-${digestOf(icon)}.svg`;

/** By path. */
export const assets: Readonly<Record<string, Asset>> = {
  [stylePath]: { body: dashboardStyle, contentType: "text/css; charset=utf-8", etag: `"${digestOf(dashboardStyle)}"` },
  [scriptPath]: { body: dashboardScript, contentType: "text/javascript; charset=utf-8", etag: `"${digestOf(dashboardScript)}"` },
  [iconPath]: { body: icon, contentType: "image/svg+xml", etag: `"${digestOf(icon)}"` },
};
