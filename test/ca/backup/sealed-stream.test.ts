import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { openStream, sealStream } from "../../../ca/backup/sealed-stream.ts";

const passphrase = "correct horse battery";
const cost = { N: 2, r: 8, p: 1, maxmem: 2 ** 20 };
const chunk = 64 * 1024;
const sealedChunk = chunk + 16;
const headerBytes = 21 + 32 + 32;

describe("a stream sealed with a passphrase", () => {
  test.each([0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk])("of %d bytes is opened as it was, however it is cut into parts", async (sizeBytes) => {
    const plain = randomBytes(sizeBytes);
    const sealed = await seal(plain, 1000);
    for (const partBytes of [7_919, sealed.length]) expect((await opened(sealed, passphrase, partBytes)).equals(plain)).toBe(true);
  });

  test("shows nothing of what is in it and is never the same", async () => {
    const plain = Buffer.alloc(1000, "secret ");
    const [one, other] = [await seal(plain), await seal(plain)];
    expect(one.includes("secret")).toBe(false);
    expect(one.subarray(headerBytes).equals(other.subarray(headerBytes))).toBe(false);
  });

  const changes: readonly (readonly [what: string, change: (sealed: Buffer) => Buffer, code: string])[] = [
    ["cut off within a chunk", (sealed) => sealed.subarray(0, -1), "backup_damaged"],
    ["cut off between chunks", (sealed) => sealed.subarray(0, headerBytes + sealedChunk), "backup_damaged"],
    ["cut off after the header", (sealed) => sealed.subarray(0, headerBytes), "backup_damaged"],
    ["cut off within the header", (sealed) => sealed.subarray(0, 40), "backup_damaged"],
    ["without its first chunk", (sealed) => Buffer.concat([sealed.subarray(0, headerBytes), sealed.subarray(headerBytes + sealedChunk)]), "backup_damaged"],
    ["with two chunks changed about", (sealed) => Buffer.concat([
      sealed.subarray(0, headerBytes), sealed.subarray(headerBytes + sealedChunk, headerBytes + 2 * sealedChunk),
      sealed.subarray(headerBytes, headerBytes + sealedChunk), sealed.subarray(headerBytes + 2 * sealedChunk),
    ]), "backup_damaged"],
    ["with something behind it", (sealed) => Buffer.concat([sealed, Buffer.alloc(1)]), "backup_damaged"],
    ["with one bit changed", flip(headerBytes + chunk), "backup_damaged"],
    ["with another salt", flip(25), "passphrase_wrong"],
    ["with another proof", flip(60), "passphrase_wrong"],
    ["of another version", flip(19), "format_unknown"],
    ["that is no backup", () => Buffer.from("SQLite format 3\0"), "format_unknown"],
    ["that is empty", () => Buffer.alloc(0), "format_unknown"],
  ];
  test.each(changes)("%s is refused", async (_what, change, code) => {
    const sealed = await seal(randomBytes(2 * chunk + 100));
    await expect(opened(change(Buffer.from(sealed)))).rejects.toMatchObject({ code });
  });

  test("with another passphrase is refused, and told from a damaged one", async () => {
    await expect(opened(await seal(randomBytes(10)), "correct horse batterx")).rejects.toMatchObject({ code: "passphrase_wrong" });
  });

  test("is not made with a passphrase that is soon guessed", async () => {
    await expect(collect(sealStream("short", parts(Buffer.alloc(1), 1), cost))).rejects.toMatchObject({ code: "passphrase_unfit" });
  });
});

function flip(at: number): (sealed: Buffer) => Buffer {
  return (sealed) => {
    sealed[at]! ^= 1;
    return sealed;
  };
}

function seal(plain: Buffer, partBytes = 10_000): Promise<Buffer> {
  return collect(sealStream(passphrase, parts(plain, partBytes), cost));
}

function opened(sealed: Buffer, with_ = passphrase, partBytes = 10_000): Promise<Buffer> {
  return collect(openStream(with_, parts(sealed, partBytes), cost));
}

async function* parts(bytes: Buffer, sizeBytes: number): AsyncGenerator<Buffer> {
  for (let offset = 0; offset < bytes.length; offset += sizeBytes) yield bytes.subarray(offset, offset + sizeBytes);
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const each of source) chunks.push(each);
  return Buffer.concat(chunks);
}
