import { generateKeyPairSync, hash, randomBytes, sign, type KeyObject } from "node:crypto";
import type { Bundle } from "../../ca/pki/bundle.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import {
  encodeBitString, encodeBoolean, encodeDer, encodeExplicit, encodeIa5String, encodeNamedBits, encodeNull, encodeOctetString, encodeOid,
  encodeSequence, encodeSetOf, encodeSmallInteger, encodeTime, encodeUtf8String,
} from "../../ca/pki/der-encoding.ts";
import { context, contextConstructed, tag } from "../../ca/pki/der-tag.ts";
import { encodePem } from "../../ca/pki/pem.ts";

/**
 * A CA for tests that makes good certificates unless told to put in a fault. It is built on the DER writers alone, so that it
 * does not share a mistake with the encoder or the profile it is used against.
 *
 *   const east = testAuthority({ trustDomain: "east" });
 *   const web = east.issuer().leaf({ spiffeId: "spiffe://east/web" });
 *   verifySvid({ chain: web.chain, bundles: east.bundles(), nowMs: testNowMs, purpose: "client" });
 */
export function testAuthority(options: AuthorityOptions & { readonly trustDomain: string }): TestAuthority {
  return makeAuthority({ subject: name(`${options.trustDomain} root`), ...options }, undefined);
}

export interface TestAuthority {
  readonly trustDomain: string;
  readonly der: Uint8Array;
  readonly pem: string;
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
  readonly privateKey: KeyObject;
  readonly keyIdentifier: Uint8Array;
  readonly keyKind: TestKeyKind;
  /** Certificates to present with a leaf: this one and those above, without the root. */
  readonly chain: readonly Uint8Array[];
  /** A CA below this one. */
  issuer(options?: AuthorityOptions): TestAuthority;
  /** An end entity below this one; without options `spiffe://<trust domain>/workload`. */
  leaf(options?: LeafOptions): TestLeaf;
  /** The root's certificate as the bundle of its trust domain. */
  bundle(): Bundle;
  /** The same as the map that `verifySvid` takes. */
  bundles(): Map<string, Bundle>;
}

export interface TestLeaf {
  readonly der: Uint8Array;
  readonly pem: string;
  readonly privateKey: KeyObject;
  /** PKCS#8. */
  readonly privateKeyPem: string;
  /** Leaf first, without the root. */
  readonly chain: readonly Uint8Array[];
  readonly chainPem: string;
  /** Lower-case hex. */
  readonly serialNumber: string;
}

/** Deviations from a good certificate; each is one fault. */
export interface Faults {
  /** Value of the version field, or what stands in its place; null leaves the field out. Default 2, which is v3. */
  readonly version?: number | Uint8Array | null;
  /** Content octets of the serial number. Default 16 random ones. */
  readonly serial?: Uint8Array;
  /** AlgorithmIdentifiers. Default: what the signing key makes. */
  readonly innerAlgorithm?: Uint8Array;
  readonly outerAlgorithm?: Uint8Array;
  readonly issuerName?: Uint8Array;
  readonly subject?: Uint8Array;
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  /** The whole Validity element. */
  readonly validity?: Uint8Array;
  /** What stands between the key and the extensions, e.g. unique identifiers. */
  readonly beforeExtensions?: Uint8Array;
  /** By name: another extension instead of the default one; null leaves it out. */
  readonly extensions?: Partial<Record<ExtensionName, Uint8Array | null>>;
  readonly extraExtensions?: readonly Uint8Array[];
  /** Signs instead of the issuer's key. */
  readonly signWith?: KeyObject;
  readonly digest?: "sha1" | "sha256" | "sha384" | "sha512";
  /** The last word: changes the finished DER. */
  readonly tamper?: (der: Uint8Array) => Uint8Array;
  readonly keyKind?: TestKeyKind;
  /** Uses this key pair instead of a new one. */
  readonly key?: TestKey;
}

export interface AuthorityOptions extends Faults {
  /** Names the CA. Default "issuer". */
  readonly commonName?: string;
  readonly pathLength?: number;
  readonly nameConstraints?: Uint8Array;
  /** URI SAN of the CA. Default: the ID of the trust domain. */
  readonly spiffeId?: string | null;
}

export interface LeafOptions extends Faults {
  readonly spiffeId?: string;
  /** Other names, encoded, e.g. `dns("web.example")`. */
  readonly names?: readonly Uint8Array[];
}

export type TestKeyKind = "ec-p256" | "ec-p384" | "ed25519" | "rsa-2048" | "rsa-1024";
export interface TestKey { readonly privateKey: KeyObject; readonly publicKey: KeyObject; readonly kind: TestKeyKind }
export type ExtensionName =
  | "basicConstraints" | "keyUsage" | "extendedKeyUsage" | "subjectAltName" | "authorityKeyIdentifier" | "subjectKeyIdentifier"
  | "nameConstraints";

/** In the middle of every default validity (2024 to 2046), which real clocks are in as well. */
export const testNowMs = Date.UTC(2025, 5, 1, 12);

// ---- pieces to build faults from ----

export function testKey(kind: TestKeyKind = "ec-p256"): TestKey {
  switch (kind) {
    case "ec-p256": return { ...generateKeyPairSync("ec", { namedCurve: "P-256" }), kind };
    case "ec-p384": return { ...generateKeyPairSync("ec", { namedCurve: "P-384" }), kind };
    case "ed25519": return { ...generateKeyPairSync("ed25519"), kind };
    case "rsa-2048": return { ...generateKeyPairSync("rsa", { modulusLength: 2048 }), kind };
    case "rsa-1024": return { ...generateKeyPairSync("rsa", { modulusLength: 1024 }), kind };
  }
}

/** A Name of one common name, or of none for "". */
export const name = (commonName: string): Uint8Array =>
  commonName === "" ? encodeSequence() : encodeSequence(relativeName("2.5.4.3", encodeUtf8String(commonName)));
export const relativeName = (type: string, value: Uint8Array): Uint8Array => encodeSetOf(encodeSequence(encodeOid(type), value));

export function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  return encodeSequence(encodeOid(oid), ...(critical ? [encodeBoolean(true)] : []), encodeOctetString(value));
}

/** keyUsage bits by number: digitalSignature 0, keyEncipherment 2, keyAgreement 4, keyCertSign 5, cRLSign 6. */
export const keyUsage = (bits: readonly number[], critical = true): Uint8Array => extension("2.5.29.15", critical, encodeNamedBits(bits));
export const basicConstraints = (certificateAuthority: boolean, pathLength?: number, critical = true): Uint8Array =>
  extension("2.5.29.19", critical, encodeSequence(
    ...(certificateAuthority ? [encodeBoolean(true)] : []), ...(pathLength === undefined ? [] : [encodeSmallInteger(pathLength)]),
  ));
export const extendedKeyUsage = (purposes: readonly string[], critical = false): Uint8Array =>
  extension("2.5.29.37", critical, encodeSequence(...purposes.map(encodeOid)));
export const subjectAltName = (names: readonly Uint8Array[], critical = false): Uint8Array =>
  extension("2.5.29.17", critical, encodeSequence(...names));
export const subjectKeyIdentifier = (keyIdentifier: Uint8Array, critical = false): Uint8Array =>
  extension("2.5.29.14", critical, encodeOctetString(keyIdentifier));
export const authorityKeyIdentifier = (keyIdentifier: Uint8Array, critical = false): Uint8Array =>
  extension("2.5.29.35", critical, encodeSequence(encodeDer(context(0), keyIdentifier)));
export function nameConstraints(
  { permitted, excluded }: { permitted?: readonly Uint8Array[]; excluded?: readonly Uint8Array[] }, critical = true,
): Uint8Array {
  const side = (number: number, bases: readonly Uint8Array[] | undefined): Uint8Array[] =>
    bases === undefined ? [] : [encodeDer(contextConstructed(number), ...bases.map((base) => encodeSequence(base)))];
  return extension("2.5.29.30", critical, encodeSequence(...side(0, permitted), ...side(1, excluded)));
}

export const uri = (text: string): Uint8Array => encodeIa5String(text, context(6));
export const dns = (text: string): Uint8Array => encodeIa5String(text, context(2));
export const email = (text: string): Uint8Array => encodeIa5String(text, context(1));
export const ip = (...octets: readonly number[]): Uint8Array => encodeDer(context(7), Uint8Array.from(octets));
export const directoryName = (nameDer: Uint8Array): Uint8Array => encodeExplicit(4, nameDer);
export const otherName = (oid: string): Uint8Array =>
  encodeDer(contextConstructed(0), encodeOid(oid), encodeExplicit(0, encodeUtf8String("other")));

export const serverAuth = "1.3.6.1.5.5.7.3.1";
export const clientAuth = "1.3.6.1.5.5.7.3.2";

/** AlgorithmIdentifier of what this kind of key signs with this digest. */
export function signatureIdentifier(kind: TestKeyKind, digest: NonNullable<Faults["digest"]> = defaultDigest(kind)): Uint8Array {
  if (kind === "ed25519") return encodeSequence(encodeOid("1.3.101.112"));
  if (kind.startsWith("rsa")) {
    const last = { sha1: 5, sha256: 11, sha384: 12, sha512: 13 }[digest];
    return encodeSequence(encodeOid(`1.2.840.113549.1.1.${last}`), encodeNull());
  }
  return encodeSequence(encodeOid(digest === "sha1" ? "1.2.840.10045.4.1" : `1.2.840.10045.4.3.${{ sha256: 2, sha384: 3, sha512: 4 }[digest]}`));
}

// ---- how it is done ----

function makeAuthority(options: AuthorityOptions & { readonly trustDomain: string }, above: TestAuthority | undefined): TestAuthority {
  const { trustDomain, commonName = "issuer", pathLength, spiffeId = `spiffe://${trustDomain}`, subject = name(`${trustDomain} ${commonName}`) } = options;
  const key = options.key ?? testKey(options.keyKind);
  const signer = above ?? { subject, privateKey: key.privateKey, keyIdentifier: keyIdentifierOf(key), keyKind: key.kind };
  const { der } = makeCertificate({ ...options, subject }, key, signer, {
    basicConstraints: basicConstraints(true, pathLength),
    keyUsage: keyUsage([5, 6]),
    subjectAltName: spiffeId === null ? null : subjectAltName([uri(spiffeId)]),
    nameConstraints: options.nameConstraints ?? null,
  });
  const chain = above === undefined ? [] : [der, ...above.chain];
  const authority: TestAuthority = {
    trustDomain, der, subject, chain, pem: encodePem("CERTIFICATE", der), spki: spkiOf(key), privateKey: key.privateKey,
    keyIdentifier: keyIdentifierOf(key), keyKind: key.kind,
    issuer: (below = {}) => makeAuthority({ trustDomain, ...below }, authority),
    leaf: (below = {}) => makeLeaf(below, authority),
    bundle: () => ({ trustDomain, x509Authorities: [parseCertificate(rootOf(above)?.der ?? der)], jwtAuthorities: [] }),
    bundles: () => new Map([[trustDomain, authority.bundle()]]),
  };
  aboveOf.set(authority, above);
  return authority;
}

function makeLeaf(options: LeafOptions, above: TestAuthority): TestLeaf {
  const { spiffeId = `spiffe://${above.trustDomain}/workload`, names = [] } = options;
  const key = options.key ?? testKey(options.keyKind);
  const { der, serialNumber } = makeCertificate({ subject: name(""), ...options }, key, above, {
    basicConstraints: basicConstraints(false),
    keyUsage: keyUsage([0]),
    extendedKeyUsage: extendedKeyUsage([serverAuth, clientAuth]),
    subjectAltName: subjectAltName([uri(spiffeId), ...names], true),
  });
  const chain = [der, ...above.chain];
  return {
    der, chain, serialNumber, pem: encodePem("CERTIFICATE", der), privateKey: key.privateKey,
    privateKeyPem: key.privateKey.export({ format: "pem", type: "pkcs8" }),
    chainPem: chain.map((certificate) => encodePem("CERTIFICATE", certificate)).join(""),
  };
}

function makeCertificate(
  faults: Faults, key: TestKey, issuer: Pick<TestAuthority, "subject" | "privateKey" | "keyIdentifier" | "keyKind">,
  defaults: Partial<Record<ExtensionName, Uint8Array | null>>,
): { der: Uint8Array; serialNumber: string } {
  const extensions = {
    ...defaults,
    subjectKeyIdentifier: subjectKeyIdentifier(keyIdentifierOf(key)),
    authorityKeyIdentifier: authorityKeyIdentifier(issuer.keyIdentifier),
    ...faults.extensions,
  };
  const present = Object.values(extensions).filter((encoded) => encoded !== null && encoded !== undefined);
  const encoded = [...present, ...(faults.extraExtensions ?? [])];
  const serial = faults.serial ?? Uint8Array.of(0x41, ...randomBytes(15));
  const { version = 2, digest = defaultDigest(issuer.keyKind) } = faults;
  const algorithm = signatureIdentifier(issuer.keyKind, digest);
  const tbs = encodeSequence(
    ...(version === null ? [] : [encodeExplicit(0, typeof version === "number" ? encodeSmallInteger(version) : version)]),
    encodeDer(tag.integer, serial),
    faults.innerAlgorithm ?? algorithm,
    faults.issuerName ?? issuer.subject,
    faults.validity ?? encodeSequence(encodeTime(faults.notBeforeMs ?? defaultNotBeforeMs), encodeTime(faults.notAfterMs ?? defaultNotAfterMs)),
    faults.subject ?? name("unnamed"),
    spkiOf(key),
    faults.beforeExtensions ?? new Uint8Array(0),
    ...(encoded.length === 0 ? [] : [encodeExplicit(3, encodeSequence(...encoded))]),
  );
  const signature = sign(issuer.keyKind === "ed25519" ? null : digest, tbs, faults.signWith ?? issuer.privateKey);
  const der = encodeSequence(tbs, faults.outerAlgorithm ?? faults.innerAlgorithm ?? algorithm, encodeBitString(signature));
  return { der: faults.tamper?.(der) ?? der, serialNumber: Buffer.from(serial).toString("hex").replace(/^00/, "") };
}

function rootOf(authority: TestAuthority | undefined): TestAuthority | undefined {
  const above = authority && aboveOf.get(authority);
  return above === undefined ? authority : rootOf(above);
}

const spkiOf = ({ publicKey }: TestKey): Uint8Array => publicKey.export({ format: "der", type: "spki" });
const keyIdentifierOf = (key: TestKey): Uint8Array => hash("sha1", spkiOf(key), "buffer");
const defaultDigest = (kind: TestKeyKind): "sha256" | "sha384" => (kind === "ec-p384" ? "sha384" : "sha256");

const aboveOf = new WeakMap<TestAuthority, TestAuthority | undefined>();
const defaultNotBeforeMs = Date.UTC(2024, 0, 1);
const defaultNotAfterMs = Date.UTC(2046, 0, 1);
