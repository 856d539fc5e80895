import { expect, test } from "vitest";
import { parseSpiffeId, parseSpiffeIdPattern } from "../../ca/pki/spiffe-id.ts";
import { authorizeInbound } from "../../proxy/policy.ts";

const cart = parseSpiffeId("spiffe://east/ns/shop/sa/cart");
const foreign = parseSpiffeId("spiffe://east.example/ns/shop/sa/cart");
const patterns = (...texts: string[]) => texts.map(parseSpiffeIdPattern);

test("without a list everyone of the own trust domain comes in, and nobody else", () => {
  expect(authorizeInbound(undefined, "east", cart)).toBe(true);
  expect(authorizeInbound(undefined, "east", foreign)).toBe(false);
});

test("an empty list denies all", () => expect(authorizeInbound([], "east", cart)).toBe(false));

test("a list allows what it matches, in whole segments", () => {
  expect(authorizeInbound(patterns("spiffe://east/ns/shop/*"), "east", cart)).toBe(true);
  expect(authorizeInbound(patterns("spiffe://west/x", "spiffe://east/ns/shop/sa/cart"), "east", cart)).toBe(true);
  expect(authorizeInbound(patterns("spiffe://east/ns/sho/*", "spiffe://east/ns/shop/sa/car"), "east", cart)).toBe(false);
});

test("a list that names a foreign trust domain opens it, and no longer the own one", () => {
  expect(authorizeInbound(patterns("spiffe://east.example/*"), "east", foreign)).toBe(true);
  expect(authorizeInbound(patterns("spiffe://east.example/*"), "east", cart)).toBe(false);
});
