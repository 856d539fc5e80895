/**
 * Reads a string that is Huffman coded.
 * @returns bytes as Latin-1; undefined where the code is broken: wrong padding, or the end symbol
 * @source  RFC 7541 section 5.2 and appendix B
 */
export function decodeHuffman(bytes: Uint8Array, from: number, to: number): string | undefined {
  // The shortest code has 5 bits.
  const text = Buffer.allocUnsafe(Math.ceil(((to - from) * 8) / 5));
  let length = 0;
  let code = 0;
  let bits = 0;
  for (let at = from; at < to; at++) {
    code = code * 256 + bytes[at]!;
    bits += 8;
    for (;;) {
      const hit = symbolAt(code, bits);
      if (hit === undefined) break;
      if (hit === endSymbol) return undefined;
      text[length++] = hit;
      bits -= codeLengths[hit]!;
      code %= 2 ** bits;
    }
  }
  // The rest is the beginning of the end symbol, which is all ones, and less than a byte.
  if (bits > 7 || code !== 2 ** bits - 1) return undefined;
  return text.toString("latin1", 0, length);
}

/** The symbol that these bits begin with, if they are enough for one. */
function symbolAt(code: number, bits: number): number | undefined {
  const isLong = bits >= 8;
  const short = isLong ? shortSymbols[Math.floor(code / 2 ** (bits - 8))]! : -1;
  if (short >= 0) return short;
  for (let length = isLong ? 9 : 5; length <= bits && length <= maxLength; length++) {
    const offset = Math.floor(code / 2 ** (bits - length)) - firstCodes[length]!;
    if (offset < counts[length]!) return symbols[firstPlaces[length]! + offset];
  }
  return undefined;
}

/** Of each byte and of the end symbol, in bits. The code is canonical, so nothing else need be said. */
const codeLengths: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];
const endSymbol = 256;
const maxLength = 30;
/** By length, then by symbol. */
const symbols = codeLengths.map((_, symbol) => symbol).sort((one, other) => codeLengths[one]! - codeLengths[other]! || one - other);
const counts: readonly number[] = Array.from({ length: maxLength + 1 }, (_, length) => codeLengths.filter((each) => each === length).length);
const firstPlaces: number[] = [0];
const firstCodes: number[] = [0];
for (let length = 1; length <= maxLength; length++) {
  firstPlaces[length] = firstPlaces[length - 1]! + counts[length - 1]!;
  firstCodes[length] = (firstCodes[length - 1]! + counts[length - 1]!) * 2;
}
/** What a byte begins with, where the code is that short, which nearly all characters of headers are; else -1. */
const shortSymbols = Int16Array.from({ length: 256 }, (_, byte) => {
  for (let length = 5; length <= 8; length++) {
    const offset = (byte >> (8 - length)) - firstCodes[length]!;
    if (offset < counts[length]!) return symbols[firstPlaces[length]! + offset]!;
  }
  return -1;
});
