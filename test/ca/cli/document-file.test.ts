import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readDocumentFile } from "../../../ca/cli/document-file.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-documents-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const read = (text: string): unknown => {
  const path = join(folder, "file");
  writeFileSync(path, text);
  return readDocumentFile(path);
};

const cart = { name: "cart", workloads: ["spiffe://east/cart"], rules: [{ action: "allow", ports: [8080] }] };

test.each([
  ["JSON", JSON.stringify(cart), cart],
  ["YAML", "name: cart\nworkloads:\n  - spiffe://east/cart\nrules:\n  - action: allow\n    ports: [8080]\n", cart],
  ["several YAML documents", "name: a\n---\nname: b\n---\n# nothing\n", [{ name: "a" }, { name: "b" }]],
  ["YAML documents that are lists", "- name: a\n---\n- name: b\n", [{ name: "a" }, { name: "b" }]],
  ["words that older YAML took for booleans and dates", "a: no\nb: 2026-01-01\nc: 0o10\n", { a: "no", b: "2026-01-01", c: 8 }],
])("%s is read", (_claim, text, expected) => {
  expect(read(text)).toEqual(expected);
});

test.each([
  ["a key that is there twice", "name: a\nname: b\n", "neither JSON nor YAML"],
  ["a broken line", "name: [a\n", /neither JSON nor YAML .*column 1\)$/],
  ["aliases, which may be a bomb", "a: &a [1, 2]\nb: [*a, *a]\n", "aliases"],
  ["a tag of another schema", "a: !!js/function x\n", "neither JSON nor YAML"],
])("%s is refused", (_claim, text, said) => {
  expect(() => read(text)).toThrow(said);
});

test("a file that is not there is named", () => {
  expect(() => readDocumentFile(join(folder, "none"))).toThrow(/none \(ENOENT\)/);
});
