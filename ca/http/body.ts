import { Refusal } from "../refusal.ts";

/**
 * Reads a JSON body of at most `limitBytes`. The length is believed where the listener enforces it (Content-Length) and
 * counted where there is none.
 * @param readBefore  the body as `readText` read it, which can be done once
 * @throws {Refusal} media_type_unsupported, body_too_large, invalid_request, request_timeout
 */
export async function readJson(request: Request, limitBytes: number, readBefore?: string): Promise<unknown> {
  const contentType = request.headers.get("content-type");
  if (contentType === null || !jsonType.test(contentType)) {
    throw new Refusal(
      "media_type_unsupported",
      'The body must be JSON and say so: add the header "content-type: application/json".',
    );
  }
  const text = readBefore ?? (await readText(request, limitBytes));
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which may hold a token.
    throw new Refusal(
      "invalid_request",
      "The body is not valid JSON: look for a quote, a comma or a brace that is missing.",
    );
  }
}

/**
 * Reads a body of bytes of at most `limitBytes`.
 * @throws {Refusal} body_too_large, request_timeout
 */
export async function readBytes(request: Request, limitBytes: number): Promise<Uint8Array> {
  try {
    return await readCounted(request.body, limitBytes);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw lost(error);
  }
}

/** The body as text; "" for none. @throws {Refusal} body_too_large, request_timeout */
export async function readText(request: Request, limitBytes: number): Promise<string> {
  const length = request.headers.get("content-length");
  if (length !== null && Number(length) > limitBytes) throw tooLarge(limitBytes);
  try {
    if (length !== null && request.headers.get("transfer-encoding") === null) return await request.text();
    return (await readCounted(request.body, limitBytes)).toString("utf8");
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw lost(error);
  }
}

async function readCounted(body: ReadableStream<Uint8Array> | null, limitBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.length;
    if (size > limitBytes) throw tooLarge(limitBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function lost(cause: unknown): Refusal {
  return new Refusal("request_timeout", "The body did not arrive in full before the connection was given up.", { cause });
}

function tooLarge(limitBytes: number): Refusal {
  return new Refusal(
    "body_too_large",
    `The body is larger than ${limitBytes} bytes; a CSR with its attestation needs a fraction of that.`,
  );
}

const jsonType = /^application\/json\s*(;|$)/i;
