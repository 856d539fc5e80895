import { STATUS_CODES } from "node:http";
import { plainRequest } from "../http/plain.ts";

/** A request as a front end of AWS Lambda hands it on. */
export interface FrontEndRequest {
  /** A plain one (`plainRequest`). */
  readonly request: Request;
  /** By the front end itself; undefined where it tells none (an ALB). */
  readonly clientIp: string | undefined;
  /** The event's own shape of an answer. @param body  at most `maxBodyBytes` */
  answer(response: Response, body: Uint8Array): FrontEndAnswer;
  /** Larger answers are refused by the front end: bytes of the body, in base64 where `isText` is false. */
  readonly maxBodyBytes: number;
}

export interface FrontEndAnswer {
  readonly statusCode: number;
  readonly statusDescription?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly multiValueHeaders?: Readonly<Record<string, readonly string[]>>;
  readonly cookies?: readonly string[];
  readonly body: string;
  readonly isBase64Encoded: boolean;
}

/**
 * Reads the event of a Function URL, of API Gateway (payload 1.0 and 2.0) or of an ALB (with or without multi-value headers). The client's
 * certificate, which each of them can hand on, is left out: nothing here believes one.
 * @returns undefined for any other event
 * @source AWS Lambda Developer Guide, "Invoking function URLs", "Using AWS Lambda with an ALB"; API Gateway Developer Guide, payload formats
 */
export function parseFrontEndEvent(event: unknown): FrontEndRequest | undefined {
  const { requestContext } = (event ?? {}) as { readonly requestContext?: object };
  if (typeof requestContext !== "object" || requestContext === null) return undefined;
  if ("elb" in requestContext) return fromLoadBalancer(event as SingleOrMultiEvent);
  if ("http" in requestContext) return fromPayload2(event as Payload2Event);
  return typeof (event as SingleOrMultiEvent).httpMethod === "string" ? fromPayload1(event as SingleOrMultiEvent) : undefined;
}

/** A Function URL, and API Gateway's HTTP APIs by default. */
function fromPayload2(event: Payload2Event): FrontEndRequest {
  const headers = headersOf(event.headers);
  if (event.cookies !== undefined) headers.set("cookie", event.cookies.join("; "));
  return {
    request: requestOf(event, event.requestContext.http.method, event.rawPath, event.rawQueryString, headers),
    clientIp: event.requestContext.http.sourceIp,
    maxBodyBytes: maxLambdaBytes,
    answer(response, body) {
      const cookies = response.headers.getSetCookie();
      return { ...answerOf(response, body), headers: singleHeaders(response), ...(cookies.length > 0 && { cookies }) };
    },
  };
}

/** API Gateway's REST APIs: names and values of the query come decoded. */
function fromPayload1(event: SingleOrMultiEvent): FrontEndRequest {
  return {
    request: requestOf(event, event.httpMethod, event.path, queryOf(event, encodeURIComponent), headersOf(event.multiValueHeaders ?? event.headers)),
    clientIp: event.requestContext.identity?.sourceIp,
    maxBodyBytes: maxLambdaBytes,
    answer: (response, body) => ({ ...answerOf(response, body), multiValueHeaders: multiHeaders(response) }),
  };
}

/** An ALB: names and values of the query come as they were sent, and who sent it is told by a header alone. */
function fromLoadBalancer(event: SingleOrMultiEvent): FrontEndRequest {
  const isMulti = event.multiValueHeaders !== undefined;
  return {
    request: requestOf(event, event.httpMethod, event.path, queryOf(event, (text) => text), headersOf(event.multiValueHeaders ?? event.headers)),
    clientIp: undefined,
    maxBodyBytes: maxLoadBalancerBytes,
    answer: (response, body) => ({
      ...answerOf(response, body),
      statusDescription: `${response.status} ${STATUS_CODES[response.status] ?? ""}`.trim(),
      // The ALB answers 502 to headers in the other form.
      ...(isMulti ? { multiValueHeaders: multiHeaders(response) } : { headers: { ...singleHeaders(response), ...firstCookie(response) } }),
    }),
  };
}

function requestOf({ body, isBase64Encoded }: EventBody, method: string, path: string, query: string, headers: Map<string, string>): Request {
  const bytes = body === undefined || body === null ? undefined : Buffer.from(body, isBase64Encoded === true ? "base64" : "utf8");
  // What the app reads of a body is bounded by this: it must be true.
  headers.delete("transfer-encoding");
  headers.delete("content-length");
  for (const name of headers.keys()) if (name.startsWith(loadBalancersWord)) headers.delete(name);
  const hasBody = bytes !== undefined && bytes.length > 0 && method !== "GET" && method !== "HEAD";
  if (hasBody) headers.set("content-length", String(bytes.length));
  const url = new URL("https://lambda.invalid/");
  // Set apart, so that no path is taken for a host.
  url.pathname = path;
  url.search = query;
  return plainRequest({ method, url, headers, body: hasBody ? bytes : undefined });
}

/** Lower-case names; values of one name are a list. */
function headersOf(given: HeaderValues): Map<string, string> {
  const headers = new Map<string, string>();
  for (const [name, value] of readHeaders(given)) {
    const [key, before] = [name.toLowerCase(), headers.get(name.toLowerCase())];
    headers.set(key, before === undefined ? value.trim() : `${before}, ${value.trim()}`);
  }
  return headers;
}

function* readHeaders(given: HeaderValues): Generator<[string, string]> {
  for (const [name, values] of Object.entries(given ?? {})) {
    for (const value of Array.isArray(values) ? values : [values]) if (typeof value === "string") yield [name, value];
  }
}

function queryOf(event: SingleOrMultiEvent, encode: (text: string) => string): string {
  const pairs = [...readHeaders(event.multiValueQueryStringParameters ?? event.queryStringParameters)];
  return pairs.map(([name, value]) => `${encode(name)}=${encode(value)}`).join("&");
}

function answerOf(response: Response, body: Uint8Array): Pick<FrontEndAnswer, "statusCode" | "body" | "isBase64Encoded"> {
  const isBase64Encoded = body.length > 0 && !isText(response);
  return { statusCode: response.status, body: Buffer.from(body).toString(isBase64Encoded ? "base64" : "utf8"), isBase64Encoded };
}

function isText(response: Response): boolean {
  return /^(text\/|application\/([a-z.-]+\+)?(json|xml)\b|application\/(pem|x-pem))/i.test(response.headers.get("content-type") ?? "");
}

function singleHeaders(response: Response): Record<string, string> {
  return Object.fromEntries([...response.headers].filter(([name]) => name !== "set-cookie"));
}

function multiHeaders(response: Response): Record<string, readonly string[]> {
  const cookies = response.headers.getSetCookie();
  const others = Object.entries(singleHeaders(response)).map(([name, value]) => [name, [value]] as const);
  return Object.fromEntries([...others, ...(cookies.length > 0 ? [["set-cookie", cookies] as const] : [])]);
}

function firstCookie(response: Response): Record<string, string> {
  const [cookie] = response.headers.getSetCookie();
  return cookie === undefined ? {} : { "set-cookie": cookie };
}

type HeaderValues = Readonly<Record<string, string | readonly string[] | null | undefined>> | null | undefined;

interface EventBody {
  readonly body?: string | null;
  readonly isBase64Encoded?: boolean;
}

interface Payload2Event extends EventBody {
  readonly rawPath: string;
  readonly rawQueryString: string;
  readonly headers?: HeaderValues;
  readonly cookies?: readonly string[];
  readonly requestContext: { readonly http: { readonly method: string; readonly sourceIp?: string } };
}

interface SingleOrMultiEvent extends EventBody {
  readonly httpMethod: string;
  readonly path: string;
  readonly headers?: HeaderValues;
  readonly multiValueHeaders?: HeaderValues;
  readonly queryStringParameters?: HeaderValues;
  readonly multiValueQueryStringParameters?: HeaderValues;
  readonly requestContext: { readonly identity?: { readonly sourceIp?: string } };
}

/** About the client's certificate. Whoever reaches the function past the ALB could write it as well. */
const loadBalancersWord = "x-amzn-mtls-";
/** 6 MB and 1 MB for the whole JSON answer; base64 takes a third, headers and quoting the rest. */
const maxLambdaBytes = 4_000_000;
const maxLoadBalancerBytes = 700_000;
