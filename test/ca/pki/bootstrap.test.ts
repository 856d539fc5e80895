import { describe, expect, test } from "vitest";
import { encodeBootstrap, parseBootstrap } from "../../../ca/pki/bootstrap.ts";
import { PkiError } from "../../../ca/pki/errors.ts";

const bootstrap = {
  caUrl: "https://ca.east.example:8443",
  token: "csjoin_abc_secret",
  rootFingerprint: "ab".repeat(32),
  trustDomain: "east.example",
};
const encoded = encodeBootstrap(bootstrap);
const withParts = (parts: unknown) => `countersign_join_${Buffer.from(JSON.stringify(parts)).toString("base64url")}`;

describe("the bootstrap string", () => {
  test("comes back as it went in, also with the white space of a paste around it", () => {
    expect(parseBootstrap(encoded)).toEqual(bootstrap);
    expect(parseBootstrap(`  ${encoded}\n`)).toEqual(bootstrap);
  });

  test.each([
    ["is empty", ""],
    ["has no prefix", encoded.slice(1)],
    ["is cut off", encoded.slice(0, -9)],
    ["is longer than the limit", encoded + "A".repeat(5000)],
    ["is not an array", withParts({})],
    ["has a part too few", withParts(["https://ca", "t", "ab".repeat(32)])],
    ["has a part that is no text", withParts(["https://ca", 1, "ab".repeat(32), "td"])],
    ["would send the token over plain HTTP", withParts(["http://ca", "t", "ab".repeat(32), "td"])],
    ["has no URL", withParts(["nonsense", "t", "ab".repeat(32), "td"])],
    ["pins no root", withParts(["https://ca", "t", "", "td"])],
    ["pins half a root", withParts(["https://ca", "t", "ab".repeat(16), "td"])],
  ])("is refused when it %s, without repeating it", (_, text) => {
    const error = thrownBy(() => parseBootstrap(text));
    expect(error).toMatchObject({ name: "PkiError", code: "bootstrap_malformed" });
    expect((error as PkiError).message).not.toContain("csjoin");
  });
});

function thrownBy(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  return undefined;
}
