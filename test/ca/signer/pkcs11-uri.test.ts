import { describe, expect, test } from "vitest";
import { parsePkcs11Uri } from "../../../ca/signer/pkcs11-uri.ts";

const query = "?module-path=/usr/lib/module.so";

describe("a PKCS#11 URI", () => {
  test("names module, token, key and the PIN's file", () => {
    const uri = "pkcs11:token=The%20CA;manufacturer=Snake%20Oil;serial=01;model=M;object=root;id=%01%fF;type=private" +
      "?module-path=/usr/lib/module.so&pin-source=file:/run/pin";
    expect(parsePkcs11Uri(uri)).toEqual({
      text: uri, modulePath: "/usr/lib/module.so", token: "The CA", manufacturer: "Snake Oil", serial: "01", model: "M", object: "root", id: "01ff", pinFile: "/run/pin",
    });
    expect(parsePkcs11Uri(`pkcs11:object=r%C3%B6t${query}&pin-source=/a`)).toMatchObject({ object: "röt", pinFile: "/a" });
    expect(parsePkcs11Uri(`pkcs11:object=röt${query}&pin-source=file:///a`)).toMatchObject({ object: "röt", pinFile: "/a" });
  });

  test.each([
    ["another scheme", `pkcs12:object=a${query}`],
    ["no key", `pkcs11:token=a${query}`],
    ["no module", "pkcs11:object=a"],
    ["a module that is searched for", "pkcs11:object=a?module-path=module.so"],
    ["an attribute given twice", `pkcs11:object=a;object=b${query}`],
    ["an attribute we would ignore", `pkcs11:object=a;slot-id=7${query}`],
    ["a public key", `pkcs11:object=a;type=public${query}`],
    ["a broken escape", `pkcs11:object=%0${query}`],
    ["an attribute without value", `pkcs11:object${query}`],
    ["a command for the PIN", `pkcs11:object=a${query}&pin-source=|/bin/echo`],
    ["a second query", `pkcs11:object=a${query}?b=c`],
    ["more than anybody needs", `pkcs11:object=${"a".repeat(3000)}${query}`],
  ])("is refused for %s", (_, text) => {
    expect(() => parsePkcs11Uri(text)).toThrow(expect.objectContaining({ code: "key_location_malformed" }));
  });

  test.each([`pkcs11:object=a${query}&pin-value=8642`, `pkcs11:object=a;pin-value=8642${query}`])("never holds a PIN, nor repeats it: %s", (text) => {
    const refused = (() => {
      try {
        return parsePkcs11Uri(text);
      } catch (error) {
        return String(error);
      }
    })();
    expect(refused).toContain("pin-source");
    expect(refused).not.toContain("8642");
  });
});
