import type { HeldBundle } from "../ca/contract/acknowledgements.ts";
import type { FederationNotice } from "../ca/contract/federated-bundles.ts";
import { problemStatus, type Problem } from "../ca/contract/problem.ts";
import type { Revocation, RevocationBatch, RevocationPage } from "../ca/contract/revocations.ts";
import type { TapNotice } from "../ca/contract/taps.ts";
import type { PolicyNotice, RenewNotice } from "../ca/contract/watch.ts";
import type { CaResponse } from "./ca-connection.ts";
import { CaError } from "./ca-error.ts";
import { isObject } from "../ca/pki/json.ts";

/** What `POST /v1/certificates` gave, taken apart but not yet believed. */
export interface IssuedAnswer {
  /** PEM, leaf first. */
  readonly chain: string;
  /** Trust domain -> SPIFFE bundle as JSON text, with sequence numbers of 64 bits intact. */
  readonly bundles: Readonly<Record<string, string>>;
  /** Sequence of the bundle that the CA has published, and of which feed; undefined from a CA that does not say. */
  readonly published: HeldBundle | undefined;
  /** How far the CA's clock is ahead of ours by the Date header, in ms; undefined without one. */
  readonly clockAheadMs: number | undefined;
}

/** @throws {CaError} ca_answer_invalid | ca_refused | ca_unavailable */
export function readIssued(response: CaResponse, nowMs: number): IssuedAnswer {
  const { chain, bundles, feedEpoch, bundleSequence } = readJson(refuseOtherThan(200, response, nowMs), rawSequence);
  if (typeof chain !== "string" || !isObject(bundles)) throw invalid("it has no chain or no bundles");
  const texts = Object.entries(bundles).map(([trustDomain, bundle]) => [trustDomain, JSON.stringify(bundle)] as const);
  const published = isEpoch(feedEpoch) && typeof bundleSequence === "string" && /^\d{1,20}$/.test(bundleSequence) ? { feedEpoch, bundleSequence } : undefined;
  return { chain, bundles: Object.fromEntries(texts), published, clockAheadMs: clockAhead(response, nowMs) };
}

/** A page of the feed; a CA of an earlier version says neither which feed nor to renew. */
export type PolledRevocations = Omit<RevocationPage, "feedEpoch"> & { readonly feedEpoch: string | undefined };

/** @throws {CaError} ca_answer_invalid | ca_refused | ca_unavailable */
export function readRevocationPage(response: CaResponse, nowMs: number): PolledRevocations {
  const page = readJson(refuseOtherThan(200, response, nowMs));
  const { feedEpoch, renew = [] } = page;
  if ((feedEpoch !== undefined && !isEpoch(feedEpoch)) || !Array.isArray(renew)) throw invalid("it is not a page of revocations");
  return { ...readRevocationBatch(page), feedEpoch, renew: renew.map(readRenewNotice) };
}

/** A token, which is not believed for that. @throws {CaError} ca_answer_invalid | ca_refused | ca_unavailable */
export function readJwtSvid(response: CaResponse, nowMs: number): string {
  const { token } = readJson(refuseOtherThan(200, response, nowMs));
  if (typeof token !== "string") throw invalid("it has no token");
  return token;
}

/** Nothing is said. @throws {CaError} ca_refused | ca_unavailable | ca_answer_invalid */
export function readNothing(response: CaResponse, nowMs: number): void {
  refuseOtherThan(204, response, nowMs);
}

/** @throws {CaError} ca_refused | ca_unavailable | ca_answer_invalid for anything but a stream of events */
export function requireStream(response: CaResponse, nowMs: number): void {
  const type = refuseOtherThan(200, response, nowMs).headers["content-type"] ?? "";
  if (!/^text\/event-stream\b/i.test(type)) throw invalid("it is not a stream of events");
}

/** An event's data as JSON. @throws {CaError} ca_answer_invalid */
export function readValue(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid("an event is not JSON", cause);
  }
  if (!isObject(value)) throw invalid("an event is not a JSON object");
  return value;
}

/** @throws {CaError} ca_answer_invalid */
export function readEpoch({ feedEpoch }: Readonly<Record<string, unknown>>): string {
  if (!isEpoch(feedEpoch)) throw invalid("its feed has no epoch");
  return feedEpoch;
}

/** @throws {CaError} ca_answer_invalid */
export function readRevocationBatch({ revocations, sequence, more }: Readonly<Record<string, unknown>>): RevocationBatch {
  if (!Array.isArray(revocations) || !isSequence(sequence) || typeof more !== "boolean") {
    throw invalid("it is not a page of revocations");
  }
  if (!revocations.every(isRevocation)) throw invalid("it lists something that is no revocation");
  return { revocations, sequence, more };
}

/** @throws {CaError} ca_answer_invalid */
export function readRenewNotice(value: unknown): RenewNotice {
  const { authorityId, windowSeconds } = isObject(value) ? value : {};
  if (typeof authorityId !== "string" || !/^[0-9a-f]{2,128}$/.test(authorityId) || !isSequence(windowSeconds)) {
    throw invalid("it asks for a renewal without saying which");
  }
  return { authorityId, windowSeconds };
}

/** The sequence of the newest policy or service. @throws {CaError} ca_answer_invalid */
export function readPolicyNotice({ sequence }: Readonly<Record<string, unknown>>): PolicyNotice {
  if (!isSequence(sequence)) throw invalid("it tells of a policy without a sequence");
  return { sequence };
}

/** Other trust domains as the CA has them; bundles as JSON text, their sequences of 64 bits intact. */
export type FederationTexts = Omit<FederationNotice, "bundles"> & { readonly bundles: Readonly<Record<string, string>> };

/** @throws {CaError} ca_answer_invalid */
export function readFederation(text: string): FederationTexts {
  const { sequence, trustDomains, bundles } = parseObject(text, rawSequence);
  if (!isSequence(sequence) || !Array.isArray(trustDomains) || trustDomains.length > maxTrustDomains || !trustDomains.every((name) => typeof name === "string") || !isObject(bundles)) {
    throw invalid("it tells of other trust domains without saying which");
  }
  return { sequence, trustDomains, bundles: Object.fromEntries(Object.entries(bundles).map(([name, bundle]) => [name, JSON.stringify(bundle)])) };
}

/** Somebody wants to look. @throws {CaError} ca_answer_invalid */
export function readTapNotice(value: Readonly<Record<string, unknown>>): TapNotice {
  const { tap, target, seconds, limit, direction, method, path } = value;
  if (typeof tap !== "string" || !/^[0-9a-f]{32}$/.test(tap) || typeof target !== "string" || !isSequence(seconds) || !isSequence(limit)) {
    throw invalid("it tells of a tap without saying which");
  }
  return {
    tap, target, seconds, limit, ...((direction === "inbound" || direction === "outbound") && { direction }),
    ...(typeof method === "string" && { method }), ...(typeof path === "string" && { path }),
  };
}

/** The body as text, or undefined for 304. @throws {CaError} ca_answer_invalid | ca_refused | ca_unavailable */
export function readChangedText(response: CaResponse, nowMs: number): string | undefined {
  return response.status === 304 ? undefined : refuseOtherThan(200, response, nowMs).text;
}

function refuseOtherThan(expected: number, response: CaResponse, nowMs: number): CaResponse {
  const { status, headers } = response;
  if (status === expected || (status === 201 && expected === 200)) return response;
  if (status >= 300 && status < 400) {
    throw invalid(`it redirects (${status}), and a redirect is never followed: whoever can make one could lead us anywhere`);
  }
  const { code, detail } = readProblem(response);
  const said = `the CA answered ${status}${code === undefined ? "" : ` ${code}`}${detail === "" ? "" : `: ${detail}`}`;
  const retryAfterMs = retryAfter(headers["retry-after"], nowMs);
  const definite = status >= 400 && status < 500 && status !== 408 && status !== 429;
  throw new CaError(definite ? "ca_refused" : "ca_unavailable", said, {
    ...(code !== undefined && { problemCode: code }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** A problem document if it is one; what is shown of it is short and of one line, since it ends up in logs. */
function readProblem({ text }: CaResponse): { readonly code: Problem["code"] | undefined; readonly detail: string } {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return { code: undefined, detail: "" };
  }
  const { code, detail } = isObject(document) ? document : {};
  const known = typeof code === "string" && Object.hasOwn(problemStatus, code) ? (code as Problem["code"]) : undefined;
  return { code: known, detail: typeof detail === "string" ? detail.replaceAll(/[^\x20-\x7e]+/g, " ").slice(0, maxDetailLength) : "" };
}

function readJson({ headers, text }: CaResponse, reviver?: Reviver): Record<string, unknown> {
  if (!/^application\/(?:[a-z.+-]+\+)?json\b/i.test(headers["content-type"] ?? "")) throw invalid("it is not JSON");
  return parseObject(text, reviver);
}

function parseObject(text: string, reviver?: Reviver): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
  } catch (cause) {
    throw invalid("it is not JSON", cause);
  }
  if (!isObject(value)) throw invalid("it is not a JSON object");
  return value;
}

type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown;

/** JSON.parse rounds beyond 2^53; kept as its source, the number comes out of JSON.stringify as it came in. */
const rawSequence: Reviver = (key, value, { source }) => {
  const integer = key === "spiffe_sequence" && typeof value === "number" && source !== undefined && /^\d{1,20}$/.test(source);
  return integer ? rawJson(source) : value;
};

/** RFC 9110 10.2.3: seconds or a date. @returns milliseconds from now, at most `maxRetryAfterMs` */
function retryAfter(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  const waitMs = /^\d{1,9}$/.test(header) ? Number(header) * 1000 : Date.parse(header) - nowMs;
  return Number.isNaN(waitMs) ? undefined : Math.min(Math.max(waitMs, 0), maxRetryAfterMs);
}

function clockAhead({ headers: { date } }: CaResponse, nowMs: number): number | undefined {
  const atMs = Date.parse(date ?? "");
  return Number.isNaN(atMs) ? undefined : atMs - nowMs;
}

function isRevocation(value: unknown): value is Revocation {
  if (!isObject(value)) return false;
  const { sequence, serialNumber, notAfter } = value;
  return isSequence(sequence) && typeof serialNumber === "string" && /^[0-9a-f]{2,40}$/.test(serialNumber) &&
    typeof notAfter === "string" && !Number.isNaN(Date.parse(notAfter));
}

function isEpoch(value: unknown): value is string {
  return typeof value === "string" && value.length <= maxEpochLength;
}

function isSequence(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function invalid(detail: string, cause?: unknown): CaError {
  return new CaError("ca_answer_invalid", `the CA's answer is refused: ${detail}`, { cause });
}

/** ECMAScript 2026, in Node since 22; not yet in the types. */
const rawJson = (JSON as typeof JSON & { readonly rawJSON: (text: string) => unknown }).rawJSON;
const maxDetailLength = 400;
/** More than a CA federates with. */
const maxTrustDomains = 10_000;
/** As long as the CA takes one. */
const maxEpochLength = 64;
/** Ten minutes: a CA under load may slow us down, not send us away. */
const maxRetryAfterMs = 600_000;
