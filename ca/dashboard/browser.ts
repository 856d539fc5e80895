/** The secret in the session's cookie; undefined when there is none. */
export function readCookie(request: Request): string | undefined {
  const cookies = request.headers.get("cookie") ?? "";
  return cookies.split(";").map((one) => one.trim()).find((one) => one.startsWith(`${cookieName}=`))?.slice(cookieName.length + 1);
}

/**
 * The cookie that makes a browser signed in; with "" it forgets it. No script reads it, no other host sets it, and it comes with nothing
 * that another site had the browser send.
 * @source RFC 6265bis 4.1.3.2 (__Host-), 5.2 (SameSite)
 */
export function sessionCookie(secret: string, maxAgeSeconds: number): string {
  return `${cookieName}=${secret}; Path=/; Max-Age=${maxAgeSeconds}; Secure; HttpOnly; SameSite=Strict`;
}

/**
 * Whether a form was sent from a page of this origin. Browsers say so in Sec-Fetch-Site, which no page can forge; the older ones, and
 * what stands in for them, in Origin.
 * @source W3C Fetch Metadata 2.4
 */
export function isOwnForm(request: Request): boolean {
  const site = request.headers.get("sec-fetch-site");
  if (site !== null) return site === "same-origin";
  const origin = request.headers.get("origin");
  const host = request.headers.get("host") ?? new URL(request.url).host;
  return origin !== null && URL.canParse(origin) && new URL(origin).host === host;
}

const cookieName = "__Host-countersign";
