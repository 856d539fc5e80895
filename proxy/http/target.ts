/** What a request line asks for. */
export interface RequestTarget {
  /** In origin form, or `*`. */
  readonly path: string;
  /** Host and port as written, lower case; undefined in origin form, where the Host header says it. */
  readonly authority: string | undefined;
}

/**
 * Reads a request target in origin, absolute (`http` only) or asterisk form. The path is passed on byte by byte: two servers
 * that normalize differently are two opinions on what was allowed.
 * @returns undefined for everything else, and for an authority that no Host header may say, one with user information too
 * @source  RFC 9112 section 3.2
 */
export function parseRequestTarget(target: string): RequestTarget | undefined {
  if (target.startsWith("/")) return { path: target, authority: undefined };
  if (target === "*") return { path: "*", authority: undefined };
  const [, authority, rest = ""] = absoluteForm.exec(target) ?? [];
  if (authority === undefined) return undefined;
  return { path: rest.startsWith("/") ? rest : `/${rest}`, authority: authority.toLowerCase() };
}

/** Host and port an authority names; IPv6 without brackets. @returns undefined if it is not one */
export function parseAuthority(authority: string): { readonly host: string; readonly port: number | undefined } | undefined {
  const [, bracketed, plain, port] = authorityForm.exec(authority) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) return undefined;
  return { host: host.toLowerCase(), port: port === undefined || port === "" ? undefined : Number(port) };
}

/** The bytes of a host are those of `isHostByte`. */
const absoluteForm = /^http:\/\/([0-9a-z._~%!$&'()*+;=:[\]-]+)([/?].*)?$/i;
const authorityForm = /^(?:\[([0-9a-f:.]+)\]|([^\s:[\]/@,?#\\]{1,253}))(?::(\d{0,5}))?$/i;
