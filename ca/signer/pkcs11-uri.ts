import { SignerError } from "./errors.ts";

/** What of a PKCS#11 URI is used: which module, token and key, and where the PIN is. */
export interface Pkcs11Uri {
  /** As given, for messages and the store; it holds no PIN. */
  readonly text: string;
  /** Absolute path of the module (a shared library). */
  readonly modulePath: string;
  /** Token, each undefined for any: label, serial number, manufacturer, model. */
  readonly token: string | undefined;
  readonly serial: string | undefined;
  readonly manufacturer: string | undefined;
  readonly model: string | undefined;
  /** Label of the key. */
  readonly object: string | undefined;
  /** CKA_ID of the key, hex. */
  readonly id: string | undefined;
  /** Path of the file with the PIN. */
  readonly pinFile: string | undefined;
}

/**
 * Reads `pkcs11:token=ca;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/run/secrets/pin`.
 * @throws {SignerError} key_location_malformed
 * @source RFC 7512 section 2
 */
export function parsePkcs11Uri(text: string): Pkcs11Uri {
  if (text.length > maxUriChars) throw malformed(`it is longer than ${maxUriChars} characters`);
  if (!text.toLowerCase().startsWith("pkcs11:")) throw malformed("it does not begin with pkcs11:");
  const [path = "", query = "", ...rest] = text.slice("pkcs11:".length).split("?");
  if (rest.length > 0) throw malformed("it has more than one ?");
  const inPath = attributes(path, ";");
  const inQuery = attributes(query, "&");
  // Whoever can list processes or read the configuration could use the key. The value is not repeated.
  if (inQuery.has("pin-value") || inPath.has("pin-value")) {
    throw malformed(
      "a PIN in it (pin-value) would be readable in process lists and backups; put it into a file named by pin-source, or into " +
        "COUNTERSIGN_PKCS11_PIN",
    );
  }
  for (const name of inPath.keys()) {
    if (!pathAttributes.has(name)) throw malformed(`"${name}" before the ? is none of ${[...pathAttributes].join(", ")}`);
  }
  const type = inPath.get("type");
  if (type !== undefined && textOf(type) !== "private") throw malformed("type must be private, or be left out");
  const string = (name: string): string | undefined => {
    const value = inPath.get(name);
    return value && textOf(value);
  };
  const modulePath = inQuery.get("module-path");
  if (modulePath === undefined || !textOf(modulePath).startsWith("/")) {
    throw malformed("it does not name the module: add ?module-path=/path/to/the/module.so (absolute)");
  }
  const id = inPath.get("id");
  const object = string("object");
  if (id === undefined && object === undefined) throw malformed("it does not name the key: give object=LABEL or id=%01%02");
  return {
    text, modulePath: textOf(modulePath), object, id: id && Buffer.from(id).toString("hex"),
    token: string("token"), serial: string("serial"), manufacturer: string("manufacturer"), model: string("model"),
    pinFile: pinFileOf(inQuery.get("pin-source")),
  };
}

/** `/path` or `file:/path`. RFC 7512 leaves further schemes to the reader; `|command` is one nobody should have. */
function pinFileOf(value: Uint8Array | undefined): string | undefined {
  if (value === undefined) return undefined;
  const source = textOf(value).replace(/^file:(\/\/)?(?=\/)/, "");
  if (!source.startsWith("/")) throw malformed("pin-source must be the absolute path of a file");
  return source;
}

function attributes(text: string, separator: string): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (const part of text === "" ? [] : text.split(separator)) {
    const [, name, value] = /^([a-z0-9_-]+)=(.*)$/is.exec(part) ?? [];
    if (name === undefined || value === undefined) throw malformed("an attribute is not written name=value");
    // RFC 7512 2.3: a second one is an error.
    if (found.has(name)) throw malformed(`"${name}" is given twice`);
    found.set(name, decode(value));
  }
  return found;
}

function decode(value: string): Uint8Array {
  if (/%(?![0-9a-fA-F]{2})/.test(value)) throw malformed("a % is not followed by two hexadecimal digits");
  return Buffer.from(value.replaceAll(/%([0-9a-fA-F]{2})|[^\x00-\x7f]/g, (match, hex?: string) =>
    hex === undefined ? Buffer.from(match).toString("latin1") : String.fromCharCode(Number.parseInt(hex, 16))), "latin1");
}

function textOf(value: Uint8Array): string {
  return Buffer.from(value).toString("utf8");
}

function malformed(detail: string): SignerError {
  return new SignerError("key_location_malformed", `the PKCS#11 URI is refused: ${detail}; see RFC 7512`);
}

const pathAttributes: ReadonlySet<string> = new Set(["token", "serial", "manufacturer", "model", "object", "id", "type"]);
const maxUriChars = 2048;
