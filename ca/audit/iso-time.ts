/**
 * Writes times as `Date.toISOString` does, and keeps the text of the second it wrote last: V8 takes a microsecond for each, and
 * every certificate tells three times, each of which is mostly the same as in the one before (measured, Node 26.10).
 */
export function isoTimes(): (timeMs: number) => string {
  let second = Number.NaN;
  let head = "";
  return (timeMs) => {
    const wholeMs = Math.floor(timeMs);
    const ofSecond = Math.floor(wholeMs / 1000);
    if (ofSecond !== second) {
      head = new Date(ofSecond * 1000).toISOString().slice(0, -"000Z".length);
      second = ofSecond;
    }
    return `${head}${String(wholeMs - ofSecond * 1000).padStart(3, "0")}Z`;
  };
}
