import { describe, expect, test } from "vitest";
import fc from "fast-check";
import { checkpointSigner, parseCheckpoint } from "../../../ca/audit/checkpoint.ts";
import { appendLeaf, emptyRange, hashLeaf, rootOf, type CompactRange } from "../../../ca/audit/merkle.ts";
import { parseNote } from "../../../ca/audit/note.ts";
import { nameOfKey, type CertificateFact, type Facts, type TokenFact } from "../../../ca/store/facts.ts";
import type { Outcome } from "../../../ca/store/outcome.ts";
import { planGroup } from "../../../ca/store/plan-group.ts";
import type { Plan } from "../../../ca/store/plan.ts";
import type { AuthorityFact } from "../../../ca/store/plan-authorities.ts";
import type { Act } from "../../../ca/store/acts.ts";
import type { NewCertificate } from "../../../ca/store/rows/certificates.ts";
import {
  createToken, deleteToken, hourMs, initialize, issue, newAuthority, newCertificate, newCrl, publishCrl, newSealer, newToken, record, revoke, rotateIssuer, setAuthorityState,
  signingIssuer, startMs,
} from "./acts.ts";

const { sealer, verifierKey } = newSealer();
const signer = checkpointSigner(sealer);

describe("planning a group", () => {
  test("nothing is sealed when every act is refused", () => {
    const { outcomes, writes, sealed } = plan([deleteToken("none"), revoke(newCertificate())]);
    expect(codes(outcomes)).toEqual(["token_unknown", "certificate_unknown"]);
    expect(sealed).toBeUndefined();
    expect(Object.values(writes).flat().filter((row) => row !== undefined)).toEqual([]);
  });

  test("the checkpoint is over all entries of the group, and the head is its tree", () => {
    const before = appendAll(emptyRange, ["x", "y", "z"]);
    const acts = [record("a", "b"), deleteToken("none"), record("c")];
    const { outcomes, writes, sealed } = plan(acts, {}, before);
    const bodies = [...acts[0]!.entries, ...acts[2]!.entries];
    expect(outcomes).toEqual([{ logIndex: 3 }, expect.objectContaining({ code: "token_unknown" }), { logIndex: 5 }]);
    expect(writes.entries.map(({ index, body }) => [index, body])).toEqual(bodies.map((body, index) => [3 + index, body]));
    expect(writes.entries.map(({ leafHash }) => leafHash)).toEqual(bodies.map(hashLeaf));
    const after = appendAll(before, bodies);
    expect(sealed!.range).toEqual(after);
    expect(sealed!.head).toEqual({ size: 6, hashes: Buffer.concat(after.hashes) });
    const checkpoint = parseCheckpoint(parseNote(sealed!.checkpoint.note));
    expect(checkpoint).toEqual({ origin: sealer.origin, size: 6, root: rootOf(after) });
    expect(sealed!.checkpoint.size).toBe(6);
  });

  test("subtrees that the group completes are written", () => {
    const { writes } = plan([record("a"), record("b")], {}, appendAll(emptyRange, Array.from({ length: 255 }, (_, index) => `${index}`)));
    expect(writes.subtrees.map(({ level, index }) => [level, index])).toEqual([[1, 0]]);
  });

  test("a revocation's sequence is the index of its entry + 1", () => {
    const certificate = newCertificate();
    const { writes } = plan([issue(certificate), revoke(certificate)]);
    expect(writes.revocations).toMatchObject([{ sequence: 2, notAfterMs: certificate.notAfterMs }]);
  });

  test("what the group's earlier acts did is seen by the later ones", () => {
    const token = newToken();
    const [certificate, next] = [newCertificate(), newCertificate()];
    const [first, second] = [newAuthority(), newAuthority()];
    const redeem = (version: number) => ({ redeem: { tokenId: token.id, version } });
    expect(codes(plan([
      initialize(verifierKey, { authorities: [first], tokens: [token] }), initialize(verifierKey),
      issue(certificate, redeem(0)), issue(next, redeem(0)), issue(next, redeem(1)), revoke(next), revoke(next),
      deleteToken(token.id), issue(newCertificate(), redeem(2)),
      rotateIssuer(second, first.id), rotateIssuer(newAuthority(), first.id), setAuthorityState(first.id, "retiring", "retired"),
      setAuthorityState(second.id, "retiring", "retired"), createToken(newToken()),
    ]).outcomes)).toEqual([
      "landed", "already_initialized", "landed", "token_already_redeemed", "landed", "landed", "already_revoked", "landed", "token_unknown",
      "landed", "authority_superseded", "landed", "authority_superseded", "landed",
    ]);
  });

  const taken = newCertificate();
  const spent = newToken({ version: 1 });
  const refusals: readonly (readonly [why: string, act: Act, facts: Partial<Facts>, code: string])[] = [
    ["a used key", issue(newCertificate({ keyFingerprint: taken.keyFingerprint })), { keyUsed: (key) => nameOfKey(key) === nameOfKey(taken.keyFingerprint) }, "key_reused"],
    ["a taken serial", issue(taken), { certificate: () => ({ notAfterMs: 0, authorityId: "aa", revoked: false }) }, "serial_taken"],
    ["a spent token", issue(newCertificate(), { redeem: { tokenId: spent.id, version: 0 } }), { token: () => ({ version: 1, deleted: false }) }, "token_already_redeemed"],
    ["a deleted token", issue(newCertificate(), { redeem: { tokenId: spent.id, version: 1 } }), { token: () => ({ version: 1, deleted: true }) }, "token_unknown"],
    ["an unknown token", issue(newCertificate(), { redeem: { tokenId: spent.id, version: 1 } }), {}, "token_unknown"],
    ["a renewal from a revoked certificate", issue(newCertificate({ renewedFrom: taken.serialNumber })), { certificate: () => ({ notAfterMs: 0, authorityId: "aa", revoked: true }) }, "certificate_revoked"],
    ["a renewal from an unknown certificate", issue(newCertificate({ renewedFrom: taken.serialNumber })), {}, "certificate_unknown"],
    ["a remembered request", issueWithKey(startMs), { idempotencyKeyExpiry: () => startMs + 1 }, "idempotency_conflict"],
    ["a revoked certificate", revoke(taken), { certificate: () => ({ notAfterMs: 0, authorityId: "aa", revoked: true }) }, "already_revoked"],
    ["an unknown certificate", revoke(taken), {}, "certificate_unknown"],
    ["a CA that is there", initialize(verifierKey), { initialized: true }, "already_initialized"],
    ["another log key", initialize("other+00000000+AA=="), {}, "log_inconsistent"],
    ["an issuer that was replaced", rotateIssuer(newAuthority(), "a"), { authorities: () => [newAuthority({ id: "a", state: "retiring" })] }, "authority_superseded"],
    ["an issuer that another replaced", rotateIssuer(newAuthority(), "a"), { authorities: () => [newAuthority({ id: "b", state: "active" })] }, "authority_superseded"],
    ["work under a lease that another took", { ...record("late"), fence: { lease: "authority", token: 1 } }, { leaseToken: () => 2 }, "lease_lost"],
    ["work under a lease that nobody holds", { ...issue(), fence: { lease: "authority", token: 1 } }, {}, "lease_lost"],
    ["a CRL after one of another replica", publishCrl(newCrl({ number: 2 }), 1), { crlNumber: () => 2 }, "crl_superseded"],
    ["a first CRL that is not the first", publishCrl(newCrl(), undefined), { crlNumber: () => 1 }, "crl_superseded"],
    ["a CRL with a higher number that was made after another one than the last", publishCrl(newCrl({ number: 9 }), 1), { crlNumber: () => 2 }, "crl_superseded"],
    ["a CRL number used before", publishCrl(newCrl({ number: 1 }), 1), { crlNumber: () => 1 }, "crl_superseded"],
    ["a first issuer that is not the first", rotateIssuer(newAuthority(), undefined), { authorities: () => [newAuthority({ id: "a" })] }, "authority_superseded"],
  ];
  test.each(refusals)("%s is refused", (_why, act, facts, code) => {
    expect(codes(plan([act], facts).outcomes)).toEqual([code]);
  });

  test("an idempotency key is free from the instant it expires", () => {
    expect(codes(plan([issueWithKey(startMs)], { idempotencyKeyExpiry: () => startMs }).outcomes)).toEqual(["landed"]);
  });

  test("a group of any acts is planned as the same acts one by one", () => {
    fc.assert(fc.property(fc.shuffledSubarray([...acts, ...repeatable]), (chosen) => {
      const together = worldOf();
      const apart = worldOf();
      const grouped = commitTo(together, chosen);
      const single = chosen.flatMap((act) => [...commitTo(apart, [act])]);
      expect(grouped).toEqual(single);
      expect(together).toEqual(apart);
    }), { numRuns: 500 });
  });
});

/** A few acts that get in each other's way. */
const acts: readonly Act[] = (() => {
  const [a, b, c] = [newCertificate(), newCertificate(), newCertificate()];
  const child = newCertificate({ renewedFrom: a.serialNumber });
  const [one, two] = [newAuthority(), newAuthority()];
  const token = newToken();
  const idempotency = { scope: "s", key: "k", requestHash: "h", expiresAtMs: startMs + hourMs };
  return [
    initialize(verifierKey, { authorities: [one] }), issue(a), issue(b, { idempotency }), issue(c, { idempotency }),
    issue(child), issue(newCertificate({ renewedFrom: child.serialNumber })), issue(newCertificate({ renewedFrom: b.serialNumber })),
    revoke(child, startMs, true), revoke(a, startMs, true),
    issue(newCertificate({ keyFingerprint: a.keyFingerprint })), issue(newCertificate({ serialNumber: b.serialNumber })),
    issue(newCertificate(), { redeem: { tokenId: token.id, version: 0 } }), issue(newCertificate(), { redeem: { tokenId: token.id, version: 1 } }),
    createToken(token), deleteToken(token.id), revoke(a), revoke(b), rotateIssuer(two, one.id), rotateIssuer(newAuthority(), undefined),
    setAuthorityState(one.id, "retiring", "retired"), record("x", "y"),
    publishCrl(newCrl(), undefined), publishCrl(newCrl({ list: "2-1.crl" }), undefined), publishCrl(newCrl({ number: 2 }), 1), publishCrl(newCrl({ number: 5 }), 2),
  ];
})();

/** All but those that make something with an ID: the database itself refuses the same ID twice. */
const repeatable = acts.filter(({ kind }) => kind !== "create-token" && kind !== "change-authorities");

/** What a database would hold, as far as facts go. */
interface World {
  initialized: boolean;
  bundleSequence: number | undefined;
  range: CompactRange;
  readonly certificates: Map<string, CertificateFact>;
  readonly issued: NewCertificate[];
  readonly keys: Set<string>;
  readonly tokens: Map<string, TokenFact>;
  readonly idempotencyKeys: Map<string, number>;
  readonly authorities: Map<string, AuthorityFact>;
  readonly crlNumbers: Map<string, number>;
}

function worldOf(): World {
  return { initialized: false, bundleSequence: undefined, range: emptyRange, certificates: new Map(), issued: [], keys: new Set(), tokens: new Map(), idempotencyKeys: new Map(), authorities: new Map([[signingIssuer.id, signingIssuer]]), crlNumbers: new Map() };
}

function commitTo(world: World, group: readonly Act[]): readonly Outcome[] {
  const { outcomes, writes, sealed } = plan(group, {
    initialized: world.initialized,
    certificate: (serialNumber) => world.certificates.get(serialNumber),
    issuedAfter: (serialNumber, spiffeId) => {
      const at = world.issued.findIndex((each) => each.serialNumber === serialNumber);
      const later = world.issued.slice(at + 1).filter((each) => at >= 0 && each.spiffeId === spiffeId);
      return later.map((each) => ({ ...each, revoked: world.certificates.get(each.serialNumber)!.revoked }));
    },
    keyUsed: (key) => world.keys.has(nameOfKey(key)),
    token: (id) => world.tokens.get(id),
    idempotencyKeyExpiry: (scope, key) => world.idempotencyKeys.get(scope + key),
    authorities: () => [...world.authorities.values()].filter(({ state }) => state !== "retired" && state !== "revoked"),
    authority: (id) => world.authorities.get(id),
    bundleSequence: world.bundleSequence,
    crlNumber: (authorityId, list) => world.crlNumbers.get(authorityId + list),
  }, world.range);
  world.initialized ||= writes.states.length > 0;
  world.range = sealed?.range ?? world.range;
  for (const row of writes.authorities) world.authorities.set(row.id, row);
  for (const { id, state } of writes.authorityStates) world.authorities.set(id, { ...world.authorities.get(id)!, state });
  for (const { id, lastNotAfterMs } of writes.lastNotAfters) world.authorities.set(id, { ...world.authorities.get(id)!, lastNotAfterMs });
  world.bundleSequence = writes.states[0]?.bundleSequence ?? world.bundleSequence;
  world.bundleSequence = writes.bundleSequence ?? world.bundleSequence;
  world.issued.push(...writes.certificates);
  for (const { serialNumber, notAfterMs, authorityId, keyFingerprint } of writes.certificates) {
    world.certificates.set(serialNumber, { notAfterMs, authorityId, revoked: false });
    world.keys.add(nameOfKey(keyFingerprint));
  }
  for (const { serialNumber, notAfterMs, authorityId } of writes.revocations) world.certificates.set(serialNumber, { notAfterMs, authorityId, revoked: true });
  for (const { id, version } of writes.tokens) world.tokens.set(id, { version, deleted: false });
  for (const { id, version } of writes.redemptions) world.tokens.set(id, { ...world.tokens.get(id)!, version });
  for (const { id } of writes.deletions) world.tokens.set(id, { ...world.tokens.get(id)!, deleted: true });
  for (const { scope, key, expiresAtMs } of writes.idempotencyKeys) world.idempotencyKeys.set(scope + key, expiresAtMs);
  for (const { authorityId, list, number } of writes.crls) world.crlNumbers.set(authorityId + list, number);
  return outcomes;
}

function plan(group: readonly Act[], facts: Partial<Facts> = {}, head: CompactRange = emptyRange): Plan {
  return planGroup(group, { ...noFacts, ...facts }, head, signer);
}

const noFacts: Facts = {
  initialized: false,
  certificate: () => undefined,
  issuedAfter: () => [],
  keyUsed: () => false,
  token: () => undefined,
  idempotencyKeyExpiry: () => undefined,
  ceremonyOpen: () => false, sealedLogKey: () => undefined, documentSequence: () => 0,
  authorities: () => [signingIssuer],
  authority: (id) => (id === signingIssuer.id ? signingIssuer : undefined),
  bundleSequence: 1,
  leaseToken: () => undefined,
  crlNumber: () => undefined,
};

function issueWithKey(issuedAtMs: number): Act {
  return issue(newCertificate({ issuedAtMs }), { idempotency: { scope: "s", key: "k", requestHash: "h", expiresAtMs: issuedAtMs + hourMs } });
}

function appendAll(range: CompactRange, bodies: readonly string[]): CompactRange {
  return bodies.reduce((grown, body) => appendLeaf(grown, hashLeaf(body)), range);
}

function codes(outcomes: readonly Outcome[]): readonly string[] {
  return outcomes.map((outcome) => "code" in outcome ? outcome.code : "landed");
}
