import { expect, test } from "vitest";
import { authorityIdOf, outsideRow } from "../../../ca/authority/active-issuer.ts";
import type { AuthorityState } from "../../../ca/contract/authorities.ts";
import type { Revocation } from "../../../ca/contract/revocations.ts";
import { parseCertificate, type Certificate } from "../../../ca/pki/certificate.ts";
import type { AuthorityRow } from "../../../ca/store/rows/authorities.ts";
import { planBundle } from "../../../ca/upstream/plan-bundle.ts";
import { planRevocations } from "../../../ca/upstream/plan-revocations.ts";
import { testAuthority, testNowMs } from "../../support/test-ca.ts";

const [one, two, three] = ["one", "two", "three"].map((commonName) => parseCertificate(testAuthority({ trustDomain: "root", commonName }).der)) as [Certificate, Certificate, Certificate];
const row = (certificate: Certificate, state: AuthorityState): AuthorityRow => ({ ...outsideRow("root", certificate, { kind: "upstream" }, testNowMs), state });

test.each<[string, readonly AuthorityRow[], readonly Certificate[], readonly Certificate[], readonly Certificate[]]>([
  ["the same roots change nothing", [row(one, "active"), row(two, "retiring")], [one, two], [], []],
  ["a new root is added", [row(one, "active")], [one, two], [two], []],
  ["a root that was given up is retired, whether it ever signed or not", [row(one, "active"), row(two, "retiring"), row(three, "prepared")], [one], [], [two, three]],
  ["the active root stays though it is gone", [row(one, "active")], [two], [two], []],
  ["no roots at all change nothing", [row(one, "active"), row(two, "retiring")], [], [], []],
  ["one that retired here does not come back", [row(one, "active"), row(two, "retired")], [one, two], [], []],
])("%s", (_what, rows, anchors, add, retire) => {
  const plan = planBundle(rows, anchors);
  expect([plan?.add.map(authorityIdOf) ?? [], plan?.retire.map(({ id }) => id) ?? []]).toEqual([add.map(authorityIdOf), retire.map(authorityIdOf)]);
});

const revocation = (serialNumber: string, more: Partial<Revocation> = {}): Revocation => (
  { sequence: 1, serialNumber, reason: "cACompromise", revokedAt: new Date(testNowMs).toISOString(), notAfter: new Date(testNowMs + 1000).toISOString(), authority: true, ...more }
);

test.each<[string, Revocation, readonly string[], readonly string[]]>([
  ["another cluster's CA is taken over", revocation("ab12"), [], ["ab12"]],
  ["a workload is not", revocation("ab12", { authority: undefined }), [], []],
  ["nor what has ended", revocation("ab12", { notAfter: new Date(testNowMs - 1000).toISOString() }), [], []],
  ["nor what is on our list already", revocation("aa00"), [], []],
  ["nor what is no serial number", revocation("../x"), [], []],
  ["an authority of our own chain is ended here", revocation(one.serialNumber), [one.serialNumber], []],
])("of what is revoked above %s", (_what, revoked, own, others) => {
  const plan = planRevocations([row(one, "active"), row(two, "retired")], [revoked], new Set(["aa00"]), testNowMs);
  expect([plan.own.map(({ revocation: { serialNumber } }) => serialNumber), plan.others.map(({ serialNumber }) => serialNumber)]).toEqual([own, others]);
});
