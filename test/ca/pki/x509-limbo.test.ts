import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { parseCertificate, type Certificate } from "../../../ca/pki/certificate.ts";
import { PkiError } from "../../../ca/pki/errors.ts";
import { extKeyUsageOid } from "../../../ca/pki/oid.ts";
import { validatePath } from "../../../ca/pki/path.ts";
import { decodePem } from "../../../ca/pki/pem.ts";

// x509-limbo asks whether a peer may be taken for a name. The product takes a peer for its SPIFFE ID only, so the comparison of
// names is done here, on the names the parser found, and everything below it by the product.

interface PeerName { readonly kind: "DNS" | "IP" | "RFC822"; readonly value: string }
interface LimboCase {
  readonly id: string;
  readonly features: readonly string[];
  readonly validation_kind: "SERVER" | "CLIENT";
  readonly trusted_certs: readonly string[];
  readonly untrusted_intermediates: readonly string[];
  readonly peer_certificate: string;
  readonly validation_time: string | null;
  readonly signature_algorithms: readonly string[];
  readonly key_usage: readonly string[];
  readonly extended_key_usage: readonly string[];
  readonly expected_result: "SUCCESS" | "FAILURE";
  readonly expected_peer_name: PeerName | null;
  readonly expected_peer_names: readonly PeerName[];
  readonly max_chain_depth: number | null;
}
interface Exception { readonly id: string; readonly weDo: "SUCCESS" | "FAILURE" | "SKIPPED"; readonly reason: string }

const readJson = (path: string): unknown => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
const { testcases } = readJson("../../vectors/x509-limbo/limbo-half.json") as { testcases: readonly LimboCase[] };
const exceptions = (readJson("./exceptions.json") as { "x509-limbo": readonly Exception[] })["x509-limbo"];

describe("x509-limbo", () => {
  test.each(testcases.map((limboCase) => [limboCase.id, limboCase] as const))("%s", (id, limboCase) => {
    const exception = exceptions.find((candidate) => candidate.id === id);
    // A runaway search is stopped: the limit of the vm reaches into the functions called from it.
    const result: unknown = runInNewContext("run()", { run: () => resultOf(limboCase) }, { timeout: caseLimitMs });
    expect(result).toBe(exception?.weDo ?? limboCase.expected_result);
    if (exception !== undefined) expect(result, "the exception is no longer one: take it out").not.toBe(limboCase.expected_result);
  });

  test("has all 92 cases, each once", () => {
    expect(new Set(testcases.map(({ id }) => id)).size).toBe(92);
  });

  test("has no exception for a case that does not exist, none twice, and a reason for each", () => {
    const ids = exceptions.map(({ id }) => id);
    expect(ids.filter((id) => !testcases.some((limboCase) => limboCase.id === id))).toEqual([]);
    expect(new Set(ids).size).toBe(ids.length);
    expect(exceptions.every(({ reason }) => reason.length > 20)).toBe(true);
  });
});

function resultOf(limboCase: LimboCase): "SUCCESS" | "FAILURE" | "SKIPPED" {
  if (limboCase.features.includes("has-crl")) return "SKIPPED";
  expect(limboCase.signature_algorithms, "no case restricts algorithms").toEqual([]);
  try {
    const [leaf] = readPem(limboCase.peer_certificate);
    const [purpose] = limboCase.extended_key_usage;
    validatePath({
      leaf: leaf!,
      intermediates: limboCase.untrusted_intermediates.flatMap(readPem),
      anchors: limboCase.trusted_certs.flatMap(readPem),
      nowMs: Date.parse(limboCase.validation_time ?? anyTime),
      ...(purpose !== undefined && { extendedKeyUsage: purposes[purpose]! }),
      ...(limboCase.max_chain_depth !== null && { maxIntermediates: limboCase.max_chain_depth }),
    });
    const usages = limboCase.key_usage as readonly "digitalSignature"[];
    const named = limboCase.validation_kind === "SERVER"
      ? limboCase.expected_peer_name === null || bears(leaf!, limboCase.expected_peer_name)
      : limboCase.expected_peer_names.every((peerName) => bears(leaf!, peerName));
    return named && usages.every((usage) => leaf!.keyUsage?.[usage] === true) ? "SUCCESS" : "FAILURE";
  } catch (error) {
    // Anything but a coded refusal is our own bug and fails the test.
    if (error instanceof PkiError) return "FAILURE";
    throw error;
  }
}

function readPem(text: string): Certificate[] {
  return decodePem(text, "CERTIFICATE").map(parseCertificate);
}

function bears({ subjectAltName }: Certificate, { kind, value }: PeerName): boolean {
  if (kind === "IP") return subjectAltName?.ipAddresses.some((octets) => Buffer.from(octets).equals(ipOctets(value))) ?? false;
  if (kind === "RFC822") return subjectAltName?.emails.includes(value) ?? false;
  const wanted = value.toLowerCase();
  return subjectAltName?.dnsNames.map((name) => name.toLowerCase()).some((name) => (
    name.startsWith("*.") ? wanted.slice(wanted.indexOf(".")) === name.slice(1) : name === wanted
  )) ?? false;
}

function ipOctets(text: string): Buffer {
  if (isIP(text) === 4) return Buffer.from(text.split(".").map(Number));
  const [head = "", tail] = text.split("::");
  const groups = (part: string | undefined) => (part ? part.split(":") : []);
  const [before, after] = [groups(head), groups(tail)];
  const all = [...before, ...Array<string>(8 - before.length - after.length).fill("0"), ...after];
  return Buffer.from(all.map((group) => group.padStart(4, "0")).join(""), "hex");
}

const purposes: Readonly<Record<string, string>> = { serverAuth: extKeyUsageOid.serverAuth, clientAuth: extKeyUsageOid.clientAuth };
/** The certificates of cases without a time run from 1970 to 2969. */
const anyTime = "2025-06-01T12:00:00Z";
/** A hundred times what the slowest case takes. */
const caseLimitMs = 5_000;
