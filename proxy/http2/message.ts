import { fieldKind, isHostByte, isTargetByte } from "../http/fields.ts";
import type { Field } from "./field.ts";

/** A request as its client sent it. */
export interface Http2Request {
  readonly method: string;
  readonly scheme: string;
  /** Begins with a slash, or is `*`. */
  readonly path: string;
  /** From `:authority`, else from Host; undefined where there is neither. */
  readonly authority: string | undefined;
  /** Undefined: not told. */
  readonly contentLength: number | undefined;
  readonly isGrpc: boolean;
  /** What goes on: no pseudo-headers, no Host, nothing hop-by-hop, no identity. */
  readonly fields: readonly Field[];
}

export interface Http2Response {
  readonly status: number;
  /** What goes on. */
  readonly fields: readonly Field[];
}

/** Why a message is malformed: two endpoints might read it differently, the more so behind one that makes HTTP/1 of it. Never repaired. */
export type MessageFault =
  | "field_malformed"
  | "pseudo_header_malformed"
  | "connection_field"
  | "host_repeated"
  | "host_malformed"
  | "length_malformed"
  | "length_repeated"
  | "length_and_end"
  | "framing_disguised"
  | "target_too_long";

/**
 * Reads the header fields of a request.
 * @param endsStream no body follows
 * @source RFC 9113 sections 8.2 and 8.3
 */
export function readRequest(fields: readonly Field[], endsStream: boolean): Http2Request | MessageFault {
  const pseudo = new Map<string, string>();
  const kept = readFields(fields, requestPseudo, pseudo);
  if (typeof kept === "string") return kept;
  const [method, scheme, path] = [pseudo.get(":method") ?? "", pseudo.get(":scheme"), pseudo.get(":path")];
  if (!methodPattern.test(method)) return "pseudo_header_malformed";
  // It has no path, and leads nowhere here.
  if (method === "CONNECT") return { method, scheme: "", path: "", authority: undefined, contentLength: undefined, isGrpc: false, fields: [] };
  if ((scheme !== "http" && scheme !== "https") || path === undefined || !isTarget(path)) return "pseudo_header_malformed";
  if (path.length > maxTargetBytes) return "target_too_long";
  let authority = pseudo.get(":authority");
  const { hosts, contentLength } = kept;
  const [host] = hosts;
  if (hosts.length > 1 || (authority !== undefined && host !== undefined && authority !== host)) return "host_repeated";
  authority ??= host;
  if (authority !== undefined && !allBytes(authority, isHostByte)) return "host_malformed";
  if (endsStream && contentLength !== undefined && contentLength > 0) return "length_and_end";
  return { method, scheme, path, authority, contentLength, isGrpc: kept.isGrpc, fields: kept.fields };
}

/** Reads the header fields of a response, an interim one too. */
export function readResponse(fields: readonly Field[]): Http2Response | MessageFault {
  const pseudo = new Map<string, string>();
  const kept = readFields(fields, responsePseudo, pseudo);
  if (typeof kept === "string") return kept;
  const text = pseudo.get(":status") ?? "";
  const status = /^[1-9]\d\d$/.test(text) ? Number(text) : 0;
  // RFC 9113 8.6: there is no switching of protocols.
  return status === 0 || status === 101 ? "pseudo_header_malformed" : { status, fields: kept.fields };
}

/** Reads the fields behind a body. @returns those that go on */
export function readTrailers(fields: readonly Field[]): readonly Field[] | MessageFault {
  const kept = readFields(fields, noPseudo, new Map());
  return typeof kept === "string" ? kept : kept.fields.filter(({ name, kind }) => kind === fieldKind.ordinary && !notInTrailers.has(name));
}

interface Kept {
  readonly fields: readonly Field[];
  readonly hosts: readonly string[];
  readonly contentLength: number | undefined;
  readonly isGrpc: boolean;
}

function readFields(fields: readonly Field[], known: ReadonlySet<string>, pseudo: Map<string, string>): Kept | MessageFault {
  const kept: Field[] = [];
  const hosts: string[] = [];
  let contentLength: number | undefined;
  let isGrpc = false;
  let regular = false;
  for (const field of fields) {
    const { name, value, kind } = field;
    if (!field.isWellFormed) return "field_malformed";
    if (field.isPseudo) {
      if (regular || !known.has(name) || pseudo.has(name)) return "pseudo_header_malformed";
      pseudo.set(name, value);
      continue;
    }
    regular = true;
    if (kind === fieldKind.ordinary) {
      if (name === "content-type") isGrpc ||= grpcType.test(value);
      kept.push(field);
    } else if (kind === fieldKind.contentLength) {
      if (contentLength !== undefined) return "length_repeated";
      if (!lengthPattern.test(value)) return "length_malformed";
      contentLength = Number(value);
      kept.push(field);
    } else if (kind === fieldKind.host) hosts.push(value);
    else if (kind === fieldKind.disguised) return "framing_disguised";
    else if (connectionFields.has(name)) return "connection_field";
    else if (name === "te") {
      if (value !== "trailers") return "connection_field";
      // It speaks of the whole way here, and servers of gRPC ask for it.
      kept.push(field);
    } else if (kind === fieldKind.trailer || kind === fieldKind.expect) kept.push(field);
  }
  return { fields: kept, hosts, contentLength, isGrpc };
}

function isTarget(path: string): boolean {
  return (path.startsWith("/") || path === "*") && allBytes(path, isTargetByte);
}

function allBytes(text: string, may: (byte: number) => boolean): boolean {
  for (let at = 0; at < text.length; at++) if (!may(text.charCodeAt(at))) return false;
  return text.length > 0;
}

const requestPseudo: ReadonlySet<string> = new Set([":method", ":scheme", ":path", ":authority"]);
const responsePseudo: ReadonlySet<string> = new Set([":status"]);
const noPseudo: ReadonlySet<string> = new Set();
const methodPattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Up to a petabyte; a double holds it exactly. */
const lengthPattern = /^\d{1,15}$/;
const grpcType = /^application\/grpc(?:$|[+;])/i;
/** @source RFC 9113 section 8.2.2 */
const connectionFields: ReadonlySet<string> = new Set(["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"]);
/** As HTTP/1 leaves out. */
const notInTrailers: ReadonlySet<string> = new Set(["authorization", "cookie", "set-cookie", "content-encoding", "content-type"]);
/** As HTTP/1 takes. */
const maxTargetBytes = 8 * 1024;
