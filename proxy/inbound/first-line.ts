/** What a first line is so far; what it has turned out to be, it stays. */
export type FirstLine = "open" | "request" | "other";

/**
 * Follows a first line whose method no server should take (`G\x01ET / HTTP/1.0`), as some take any: those of Python's standard library
 * do. It is carried on before its end, since a client that does not speak in lines waits for an answer, but no server reads headers
 * before it has the line's end, and that is withheld. Stricter than for a line of text, since binary ones hold whatever there is.
 * @returns takes the next bytes; the verdict holds for the line with them
 */
export function firstLine(): (bytes: Uint8Array) => FirstLine {
  let verdict: FirstLine = "open";
  let words = 0;
  /** What the word under way begins with; empty between words. */
  let word = "";
  /** The last one that has ended. */
  let before = "";
  let hasControl = false;

  function endWord(): void {
    if (word !== "") before = word;
    word = "";
  }

  function take(byte: number): void {
    if (isBlank(byte)) endWord();
    else {
      if (word === "") words += 1;
      if (word.length < maxKept) word += String.fromCharCode(byte);
      if (words > 1 && isControl(byte)) hasControl = true;
    }
    if (byte === lf && words > 0) verdict = (words > 2 && isVersion.test(before)) || (words === 2 && isTarget.test(before) && !hasControl) ? "request" : "other";
    // Whatever is behind it: Perl's does not look.
    else if (words === 3 && byte === slash && beginsVersion.test(word)) verdict = "request";
  }

  return (bytes) => {
    for (let at = 0; at < bytes.length && verdict === "open"; at++) take(bytes[at]!);
    return verdict;
  };
}

/** As `detect.ts` has it. */
const isBlank = (byte: number): boolean => (byte >= 9 && byte <= 13) || (byte >= 0x1c && byte <= 0x20) || byte === 0x85 || byte === 0xa0;
const isControl = (byte: number): boolean => byte < 0x20 || byte === 0x7f;
const [lf, slash] = [10, 47];
const beginsVersion = /^(?:HTTP|RTSP|ICE)\/$/i;
const isVersion = /^(?:HTTP|RTSP|ICE)\/[\d.+]*$/i;
/** Some read headers behind a line without a version, too. */
const isTarget = /^(?:\/|[a-z][a-z0-9+.-]*:\/\/)/i;
/** Longer than any version and scheme. */
const maxKept = 32;
