import { expect, test } from "vitest";
import { parseCertificateId, suggestedWindow } from "../../../ca/acme/renewal-info.ts";

test("an identifier is read as RFC 9773 writes it", () => {
  // RFC 9773 section 4.1
  expect(parseCertificateId("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")).toEqual({ authorityId: "69885b6b87464041e1b37b847ba0ae2cde01c8d4", serialNumber: "87654321" });
});

test.each(["", "aYhba4dGQEHhs3uEe6CuLN4ByNQ", "aYhba4dGQEHhs3uEe6CuLN4ByNQ.", ".AIdlQyE", "aYhba4dGQEHhs3uEe6CuLN4ByNQ.h2VDIQ", "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AAEC", "aYhba4dGQEHhs3uEe6CuLN4ByNQ=.AIdlQyE", "a.b.c", `${"A".repeat(200)}.AQ`])("%s is none", (text) => {
  expect(parseCertificateId(text)).toBeUndefined();
});

test("the window lies before the end, and begins at once for what is revoked", () => {
  const life = { notBeforeMs: 0, notAfterMs: 1_000_000 };
  expect(suggestedWindow(life, 5)).toEqual({ start: new Date(620_000).toISOString(), end: new Date(700_000).toISOString() });
  const { start, end } = suggestedWindow({ ...life, revokedAtMs: 5 }, 100_000);
  expect(Date.parse(start)).toBeLessThan(Date.parse(end));
  expect(Date.parse(end)).toBeLessThan(100_000);
});
