import type * as Ffi from "node:ffi";
import { SignerError, type SignerErrorCode } from "./errors.ts";

/** The few functions of a PKCS#11 module that signing takes, with JavaScript's values. Blocking: used in a process of its own. */
export interface Cryptoki {
  slots(): readonly bigint[];
  tokenInfo(slot: bigint): TokenInfo;
  openSession(slot: bigint): bigint;
  login(session: bigint, user: "user" | "context-specific", pin: string): void;
  /** Handles of the objects with all of these attributes, at most `maxObjects`. */
  findObjects(session: bigint, template: readonly (readonly [type: number, value: Uint8Array])[]): readonly bigint[];
  /** Undefined when the object does not have it. */
  attribute(session: bigint, object: bigint, type: number): Uint8Array | undefined;
  signInit(session: bigint, mechanism: number, key: bigint): void;
  sign(session: bigint, data: Uint8Array): Uint8Array;
  close(): void;
}

export interface TokenInfo {
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  readonly flags: bigint;
}

/**
 * Loads a module by Node's own foreign function interface: no add-on, so no compiler on the user's machine.
 * @throws {SignerError} signer_unavailable, and for each call the code of `codes`
 * @source PKCS#11 v2.40 (OASIS), sections 3 and 5; layout as on LP64 (Linux, macOS): CK_ULONG has 8 octets
 */
export function openCryptoki(modulePath: string): Cryptoki {
  const ffi = process.getBuiltinModule("node:ffi") as typeof Ffi | undefined;
  if (ffi === undefined) throw new SignerError("signer_unavailable", `PKCS#11 keys need Node.js 26.1 or later; this is ${process.version}`);
  if (process.platform === "win32") throw new SignerError("signer_unavailable", "PKCS#11 keys are supported on Linux and macOS only");
  const functions = load(ffi, modulePath);

  // All that the module reads and writes lies in one block that neither moves nor goes away.
  const memory = new ArrayBuffer(memoryBytes);
  const base = ffi.getRawPointer(memory);
  const view = new DataView(memory);
  let used = 0;
  const reserve = (size: number): number => {
    const offset = used;
    used += Math.ceil(size / 8) * 8;
    if (used > memoryBytes) throw new RangeError("more than the memory set aside for PKCS#11");
    return offset;
  };
  const place = (bytes: Uint8Array): number => {
    const offset = reserve(bytes.length);
    new Uint8Array(memory, offset, bytes.length).set(bytes);
    return offset;
  };
  const at = (offset: number): bigint => base + BigInt(offset);
  const ulong = (offset: number): bigint => view.getBigUint64(offset, true);
  const setUlong = (offset: number, value: bigint): void => view.setBigUint64(offset, value, true);
  const copy = (offset: number, length: number): Uint8Array => new Uint8Array(memory.slice(offset, offset + length));
  function call(name: Name, ...args: readonly bigint[]): void {
    const result = (functions[name] as (...args: readonly bigint[]) => bigint)(...args);
    if (result !== 0n) throw failure(name, Number(result));
  }
  /** Each call starts with the memory empty, and leaves nothing in it: a PIN was there. */
  function scoped<T>(act: () => T): T {
    try {
      return act();
    } finally {
      new Uint8Array(memory, 0, used).fill(0);
      used = 0;
    }
  }

  call("C_Initialize", 0n);
  return {
    slots: () => scoped(() => {
      const count = reserve(8);
      const list = reserve(8 * maxSlots);
      setUlong(count, BigInt(maxSlots));
      call("C_GetSlotList", 1n, at(list), at(count));
      return Array.from({ length: Number(ulong(count)) }, (_, index) => ulong(list + 8 * index));
    }),
    tokenInfo: (slot) => scoped(() => {
      const info = reserve(tokenInfoBytes);
      call("C_GetTokenInfo", slot, at(info));
      const text = (offset: number, length: number): string => Buffer.from(memory, info + offset, length).toString("utf8").trimEnd();
      return { label: text(0, 32), manufacturer: text(32, 32), model: text(64, 16), serial: text(80, 16), flags: ulong(info + 96) };
    }),
    openSession: (slot) => scoped(() => {
      const session = reserve(8);
      call("C_OpenSession", slot, serialSession, 0n, 0n, at(session));
      return ulong(session);
    }),
    login: (session, user, pin) => scoped(() => {
      const bytes = Buffer.from(pin);
      call("C_Login", session, user === "user" ? 1n : 2n, at(place(bytes)), BigInt(bytes.length));
    }),
    findObjects: (session, template) => scoped(() => {
      const attributes = reserve(24 * template.length);
      for (const [index, [type, value]] of template.entries()) {
        setUlong(attributes + 24 * index, BigInt(type));
        setUlong(attributes + 24 * index + 8, at(place(value)));
        setUlong(attributes + 24 * index + 16, BigInt(value.length));
      }
      call("C_FindObjectsInit", session, at(attributes), BigInt(template.length));
      const found = reserve(8 * maxObjects);
      const count = reserve(8);
      call("C_FindObjects", session, at(found), BigInt(maxObjects), at(count));
      call("C_FindObjectsFinal", session);
      return Array.from({ length: Number(ulong(count)) }, (_, index) => ulong(found + 8 * index));
    }),
    attribute: (session, object, type) => scoped(() => {
      const attribute = reserve(24);
      const value = reserve(maxAttributeBytes);
      setUlong(attribute, BigInt(type));
      setUlong(attribute + 8, at(value));
      setUlong(attribute + 16, BigInt(maxAttributeBytes));
      const result = functions.C_GetAttributeValue(session, object, at(attribute), 1n);
      const length = ulong(attribute + 16);
      if (absentResults.has(Number(result)) || length === unavailableLength) return undefined;
      if (result !== 0n) throw failure("C_GetAttributeValue", Number(result));
      return copy(value, Number(length));
    }),
    signInit: (session, mechanism, key) => scoped(() => {
      const structure = reserve(24);
      setUlong(structure, BigInt(mechanism));
      call("C_SignInit", session, at(structure), key);
    }),
    sign: (session, data) => scoped(() => {
      const signature = reserve(maxSignatureBytes);
      const length = reserve(8);
      setUlong(length, BigInt(maxSignatureBytes));
      call("C_Sign", session, at(place(data)), BigInt(data.length), at(signature), at(length));
      return copy(signature, Number(ulong(length)));
    }),
    close: () => call("C_Finalize", 0n),
  };
}

type Name = keyof typeof signatures;

function load(ffi: typeof Ffi, modulePath: string) {
  try {
    return ffi.dlopen(modulePath, signatures).functions;
  } catch (cause) {
    throw new SignerError("signer_unavailable", `the PKCS#11 module ${modulePath} cannot be loaded: ${(cause as Error).message}`, { cause });
  }
}

function failure(name: Name, result: number): SignerError {
  const [code, text] = results[result] ?? ["signer_unavailable", "see CKR_ in the PKCS#11 specification"];
  return new SignerError(code, `${name} was answered 0x${result.toString(16)}: ${text}`);
}

/** Every argument of these is a CK_ULONG or a pointer; C_GetSlotList's CK_BBOOL fits in the register that carries it. */
const word = "u64";
const signatures = {
  C_Initialize: { arguments: [word], return: word },
  C_Finalize: { arguments: [word], return: word },
  C_GetSlotList: { arguments: [word, word, word], return: word },
  C_GetTokenInfo: { arguments: [word, word], return: word },
  C_OpenSession: { arguments: [word, word, word, word, word], return: word },
  C_Login: { arguments: [word, word, word, word], return: word },
  C_FindObjectsInit: { arguments: [word, word, word], return: word },
  C_FindObjects: { arguments: [word, word, word, word], return: word },
  C_FindObjectsFinal: { arguments: [word], return: word },
  C_GetAttributeValue: { arguments: [word, word, word, word], return: word },
  C_SignInit: { arguments: [word, word, word], return: word },
  C_Sign: { arguments: [word, word, word, word, word], return: word },
} as const;

const results: Readonly<Record<number, readonly [SignerErrorCode, string]>> = {
  0x30: ["signer_unavailable", "the device failed"],
  0x32: ["signer_unavailable", "the token was removed"],
  0x63: ["key_unfit", "the key is not of the kind this signature takes"],
  0x68: ["key_unfit", "the key may not sign (CKA_SIGN)"],
  0x70: ["key_unfit", "the token does not make this kind of signature"],
  0xa0: ["key_refused", "the PIN is wrong"],
  0xa4: ["key_refused", "the PIN is locked after too many wrong ones"],
  0xe0: ["signer_unavailable", "there is no token in the slot"],
  0x101: ["key_refused", "the token asks for its PIN"],
  0x102: ["key_refused", "the token's user PIN was never set"],
};
/** CKR_ATTRIBUTE_SENSITIVE and CKR_ATTRIBUTE_TYPE_INVALID. */
const absentResults: ReadonlySet<number> = new Set([0x11, 0x12]);
const unavailableLength = 0xffff_ffff_ffff_ffffn;
const serialSession = 4n;
const tokenInfoBytes = 208;
const maxSlots = 64;
/** Two are one too many already. */
const maxObjects = 2;
/** RSA-4096 has 512. */
const maxAttributeBytes = 2048;
const maxSignatureBytes = 1024;
const memoryBytes = 16 * 1024;
