/**
 * A text out of a file or from a stranger, fit for a terminal: what would move the cursor, hide or reorder text is spelled out.
 * @source Unicode categories Cc, Cf, Cs, Co, Zl, Zp
 */
export function inert(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`);
}

/** The same for a text of several lines, whose breaks stay. */
export function inertLines(text: string): string {
  return text.split("\n").map(inert).join("\n");
}
