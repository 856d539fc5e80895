/**
 * Breaks a text into lines of at most 79 characters, so that it fits a terminal of 80; words that are longer stay whole.
 * @param indent  put before each line, the first too
 */
export function wrap(text: string, indent = ""): string {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line !== indent && line.length + 1 + word.length > maxColumns) {
      lines.push(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  return [...lines, line].join("\n");
}

const maxColumns = 79;
