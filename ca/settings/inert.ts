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

/** JSON that means what `JSON.stringify` gives, and that a terminal can be shown. */
export function inertJson(value: unknown, indent?: number): string {
  // It escapes what ECMA-48 calls C0 and quotes; everything else that does not show stands within strings, where \u means the same.
  return JSON.stringify(value, null, indent).replace(/[\p{Cf}\p{Co}\p{Zl}\p{Zp}\u007f-\u009f]/gu, (char) => char.split("").map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join(""));
}
