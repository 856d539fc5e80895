import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeCursor, parseCursor } from "../../../ca/http/cursor.ts";

test("a cursor comes back as the place it was made of", () => {
  fc.assert(
    fc.property(fc.oneof(fc.nat(), fc.stringMatching(/^[\w-]{1,64}$/)), (place) => {
      expect(parseCursor(encodeCursor(place))).toBe(String(place));
    }),
  );
});

test("anything else is refused, whatever its bytes", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      try {
        expect(encodeCursor(parseCursor(text))).toBe(text);
      } catch (error) {
        expect(error).toMatchObject({ code: "invalid_request" });
      }
    }),
  );
  for (const text of ["", "AA", "MQ", "Mjox", "MTo", `${encodeCursor(1)}=`, ` ${encodeCursor(1)}`])
    expect(() => parseCursor(text), text).toThrow(/cursor/);
});
