import { describe, expect, test } from "vitest";
import { advice } from "../../../ca/inspect/advice.ts";
import { certificateItems, readContents } from "../../../ca/inspect/items.ts";
import { judgeContents, type JudgeOptions, type Verdict } from "../../../ca/inspect/judge.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { encodeCsr } from "../../../ca/pki/csr.ts";
import { encodePem } from "../../../ca/pki/pem.ts";
import { dns, extendedKeyUsage, extension, keyUsage, serverAuth, subjectAltName, testAuthority, testKey, testNowMs as nowMs } from "../../support/test-ca.ts";

const east = testAuthority({ trustDomain: "east" });
const issuer = east.issuer({ pathLength: 0 });
const good = issuer.leaf();
const trusted = { anchors: [parseCertificate(east.der)], nowMs };
const hourMs = 3_600_000;

// The certificates of test-ca.ts are good and yet not as ours (their key identifiers are SHA-1's), which has a test of its own.
const isHabit = ({ text }: Verdict): boolean => text.startsWith("Countersign would not have signed it so");
const judgeChain = (chain: readonly Uint8Array[], options: Partial<JudgeOptions> = {}): readonly Verdict[] =>
  judgeContents({ items: certificateItems(chain) }, { ...trusted, ...options }).filter((verdict) => !isHabit(verdict));
const judgeText = (text: string, options: Partial<JudgeOptions> = {}): readonly Verdict[] =>
  judgeContents(readContents(Buffer.from(text)), { ...trusted, ...options }).filter((verdict) => !isHabit(verdict));
const statuses = (verdicts: readonly Verdict[]) => verdicts.map(({ status }) => status);

test("a good chain is taken, by its ID", () => {
  const [first] = judgeChain(good.chain);
  expect(first).toEqual({ status: "ok", text: "a proxy that trusts your bundle takes it as spiffe://east/workload" });
});

describe("a chain with one fault is refused for it, with what to do", () => {
  const other = testAuthority({ trustDomain: "east" });
  test.for([
    ["it has ended", issuer.leaf({ notBeforeMs: nowMs - 2 * hourMs, notAfterMs: nowMs - hourMs }).chain, "path_expired"],
    ["it has not begun", issuer.leaf({ notBeforeMs: nowMs + hourMs }).chain, "path_not_yet_valid"],
    ["its issuer is missing", good.chain.slice(0, 1), "path_not_found"],
    ["another root has the same name", other.issuer().leaf().chain, "path_key_identifier_mismatch"],
    ["somebody else signed it", issuer.leaf({ signWith: testKey().privateKey }).chain, "path_signature_invalid"],
    ["it has no SPIFFE ID", issuer.leaf({ extensions: { subjectAltName: subjectAltName([dns("web.example")], true) } }).chain, "svid_uri_san_count"],
    ["it is for servers only", issuer.leaf({ extensions: { extendedKeyUsage: extendedKeyUsage([serverAuth]) } }).chain, "svid_extended_key_usage"],
    ["its key usage is not critical", issuer.leaf({ extensions: { keyUsage: keyUsage([0], false) } }).chain, "svid_key_usage"],
    ["it is of a domain nobody named", testAuthority({ trustDomain: "west" }).issuer().leaf().chain, "svid_trust_domain_unknown"],
    ["its key is weak", issuer.leaf({ keyKind: "rsa-1024" }).chain, "public_key_weak"],
    ["it has a critical extension nobody knows", issuer.leaf({ extraExtensions: [extension("1.2.3.4", true, Uint8Array.of(5, 0))] }).chain, "certificate_extension_critical_unknown"],
  ] as const)("%s", ([, chain, code]) => {
    const refusal = judgeChain(chain).find(({ status }) => status === "failed");
    expect(refusal).toMatchObject({ code, advice: advice[code], text: expect.stringContaining(`(${code})`) as string });
    expect(advice[code]).toBeTruthy();
  });

  test("and what was wrong besides its dates is said as well", () => {
    const ended = { notBeforeMs: nowMs - 2 * hourMs, notAfterMs: nowMs - hourMs };
    expect(judgeChain(other.issuer().leaf(ended).chain).map(({ code }) => code)).toEqual(["path_expired", "path_key_identifier_mismatch"]);
  });
});

describe("whom to trust", () => {
  test("a chain alone is neither taken nor refused", () => {
    expect(statuses(judgeChain(good.chain, { anchors: [] }))).toEqual(["warning"]);
  });

  test("a root that comes along is not trusted for that", () => {
    const verdicts = judgeChain([...good.chain, east.der], { anchors: [] });
    expect(statuses(verdicts)).toEqual(["ok", "warning"]);
    expect(verdicts[1]!.text).toContain("proves nothing");
  });

  test("a fault of the certificate itself is found without any root", () => {
    const bad = issuer.leaf({ extensions: { keyUsage: keyUsage([0], false) } });
    expect(judgeChain(bad.chain, { anchors: [] })[0]).toMatchObject({ status: "failed", code: "svid_key_usage" });
  });

  test("anchors that name another trust domain are not lent to this one", () => {
    const west = testAuthority({ trustDomain: "west" });
    const forged = west.issuer({ spiffeId: null }).leaf({ spiffeId: "spiffe://east/workload" });
    expect(judgeChain(forged.chain, { anchors: [parseCertificate(west.der)] })[0]).toMatchObject({ status: "failed", code: "svid_trust_domain_unknown" });
  });

  test("a root without an ID stands for the domain that was named, and no other", () => {
    const anchors = [parseCertificate(testAuthority({ trustDomain: "east", spiffeId: null }).der)];
    const plain = testAuthority({ trustDomain: "east", spiffeId: null });
    const leaf = plain.issuer().leaf();
    expect(statuses(judgeChain(leaf.chain, { anchors: [parseCertificate(plain.der)] }))[0]).toBe("ok");
    expect(judgeChain(leaf.chain, { anchors, trustDomain: "west" })[0]).toMatchObject({ code: "svid_trust_domain_unknown" });
  });
});

describe("a CA's certificate", () => {
  test("a root is trusted by who trusts it, unknown to who named nobody, and refused by others", () => {
    expect(statuses(judgeChain([east.der]))).toEqual(["ok"]);
    expect(statuses(judgeChain([east.der], { anchors: [] }))).toEqual(["warning"]);
    expect(statuses(judgeChain([east.der], { anchors: [parseCertificate(testAuthority({ trustDomain: "east" }).der)] }))).toEqual(["failed"]);
  });

  test("an issuer leads to a trusted root, or what it signs is refused", () => {
    expect(statuses(judgeChain([issuer.der]))).toEqual(["ok"]);
    const ended = east.issuer({ notBeforeMs: nowMs - 2 * hourMs, notAfterMs: nowMs - hourMs });
    expect(judgeChain([ended.der])[0]).toMatchObject({ status: "failed", code: "path_expired" });
  });

  test("a root that has ended, or not begun, vouches for nobody", () => {
    for (const [dates, code] of [[{ notBeforeMs: nowMs - 2 * hourMs, notAfterMs: nowMs - hourMs }, "path_expired"], [{ notBeforeMs: nowMs + hourMs }, "path_not_yet_valid"]] as const) {
      expect(judgeChain([testAuthority({ trustDomain: "east", ...dates }).der])[0]).toMatchObject({ status: "failed", code });
    }
  });
});

test("what is late to renew is said while it is still taken", () => {
  const late = issuer.leaf({ notBeforeMs: nowMs - 9 * hourMs, notAfterMs: nowMs + hourMs });
  expect(judgeChain(late.chain)[1]).toMatchObject({ status: "warning", text: expect.stringContaining("60 min of its life") as string });
});

test("names are compared for what a server showed", () => {
  const { chain } = issuer.leaf({ names: [dns("cart.shop.svc")] });
  expect(judgeChain(chain, { host: "cart.shop.svc" }).some(({ status, text }) => status === "ok" && text === "it has the name cart.shop.svc")).toBe(true);
  expect(judgeChain(chain, { host: "10.0.0.1" }).some(({ status, text }) => status === "warning" && text.includes("10.0.0.1"))).toBe(true);
});

test("what our CA would have signed otherwise is a warning with its rule, not a refusal", () => {
  const verdicts = judgeContents({ items: certificateItems(issuer.leaf({ serial: Uint8Array.of(5) }).chain) }, trusted);
  expect(statuses(verdicts)).toEqual(["ok", "warning", "warning"]);
  expect(verdicts[1]!.text).toMatch(/serial number has less than .* \(CERT-02; RFC 5280/);
});

describe("what is no certificate", () => {
  test("a private key belongs to a certificate beside it, or to none", () => {
    expect(judgeText(good.chainPem + good.privateKeyPem).at(-1)).toMatchObject({ status: "ok", text: expect.stringContaining("private key") as string });
    expect(judgeText(good.chainPem + issuer.leaf().privateKeyPem).at(-1)).toMatchObject({ status: "failed" });
    expect(judgeText(good.privateKeyPem)).toEqual([]);
  });

  test("a request is signed by its own key, or refused", () => {
    const der = encodeCsr({ privateKey: testKey().privateKey });
    expect(statuses(judgeText(encodePem("CERTIFICATE REQUEST", der)))).toEqual(["ok"]);
    der[der.length - 1]! ^= 1;
    expect(judgeText(encodePem("CERTIFICATE REQUEST", der))[0]).toMatchObject({ status: "failed", code: "csr_signature_invalid" });
  });

  test("PEM that only a lax reader takes is refused, and explained all the same", () => {
    const bent = good.chainPem.replace(/\n(.{64})\n/, "\n$1 \n");
    expect(judgeText(bent).map(({ status, code }) => [status, code])).toEqual([["failed", "pem_malformed"], ["ok", undefined]]);
  });

  test.for([["", "nothing at all"], ["hello", "neither PEM"], ["-----BEGIN PGP MESSAGE-----\nxx\n-----END PGP MESSAGE-----\n", "PGP MESSAGE"], ["{}", "SPIFFE bundle|bundle"], ["countersign_join_xx", "join string"]] as const)("%j is refused with what it is", ([text, what]) => {
    expect(judgeText(text)[0]).toMatchObject({ status: "failed", text: expect.stringMatching(what) as string });
  });
});
