import { CaError } from "./ca-error.ts";

/** One server-sent event, not yet looked into. */
export interface StreamEvent {
  /** `message` where it has no name. */
  readonly event: string;
  readonly data: string;
  /** Undefined where it has none: then the reader's position is what it was. */
  readonly id: string | undefined;
}

/**
 * Takes an event stream apart, wherever it is cut into chunks. Comments, unknown fields and events without data are left out. Lines
 * end with LF or CRLF; a CR alone, which the standard allows too, does not end one.
 * @returns a function that gives the events which a chunk completes; it throws {CaError} ca_answer_invalid
 * @source HTML Standard 9.2.6
 */
export function eventParser(maxEventChars = defaultMaxEventChars): (chunk: Uint8Array) => readonly StreamEvent[] {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  let pendingChars = 0;
  let name = "";
  let data: string[] = [];
  let id: string | undefined;

  function take(line: string): StreamEvent | undefined {
    if (line === "") return dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") name = value;
    else if (field === "data") data.push(value);
    else if (field === "id" && !value.includes("\0")) id = value;
    if (field !== "") pendingChars += line.length;
    return undefined;
  }

  function dispatch(): StreamEvent | undefined {
    const found = data.length === 0 ? undefined : { event: name === "" ? "message" : name, data: data.join("\n"), id };
    [name, data, id, pendingChars] = ["", [], undefined, 0];
    return found;
  }

  return (chunk) => {
    rest += decode(decoder, chunk);
    const events: StreamEvent[] = [];
    let from = 0;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n", from)) {
      const event = take(rest.slice(from, rest[end - 1] === "\r" && end > from ? end - 1 : end));
      if (event !== undefined) events.push(event);
      if (pendingChars > maxEventChars) throw tooLong(maxEventChars);
      from = end + 1;
    }
    rest = rest.slice(from);
    if (rest.length + pendingChars > maxEventChars) throw tooLong(maxEventChars);
    return events;
  };
}

function decode(decoder: TextDecoder, chunk: Uint8Array): string {
  try {
    return decoder.decode(chunk, { stream: true });
  } catch (cause) {
    throw new CaError("ca_answer_invalid", "the CA's stream is refused: it is not UTF-8", { cause });
  }
}

function tooLong(limit: number): CaError {
  return new CaError("ca_answer_invalid", `the CA's stream is refused: an event is longer than ${limit} characters`);
}

/** As much as a bundle that is polled. */
const defaultMaxEventChars = 1024 * 1024;
