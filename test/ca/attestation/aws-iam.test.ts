import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { awsIamVerifier } from "../../../ca/attestation/aws-iam.ts";
import type { Outgoing } from "../../../ca/attestation/fetch.ts";
import type { AwsIamSignature } from "../../../ca/contract/attestation.ts";
import { signCallerIdentity, type AwsSigning } from "../../../proxy/attest/aws-sign.ts";
import { attestorDeps, attestorOf, factsToObject } from "../../support/attestor.ts";
import { startPlatform, type Platform } from "../../support/platform.ts";
import { serveSts, type StsCaller } from "../../support/sts-server.ts";

let aws: Platform;
const deps = attestorDeps();
const region = "eu-test-1";
const web: StsCaller = { accessKeyId: "ASIATEST0COUNTERSIGN", secretAccessKey: "secret-of-web", sessionToken: "session/of+web==", account: "123456789012", arn: "arn:aws:sts::123456789012:assumed-role/web/i-0abc", userId: "AROAEXAMPLE:i-0abc" };
const user: StsCaller = { accessKeyId: "AKIATEST0COUNTERSIGN", secretAccessKey: "secret-of-user", account: "123456789012", arn: "arn:aws:iam::123456789012:user/team/alice", userId: "AIDAEXAMPLE" };
beforeAll(async () => void (aws = await startPlatform()));
beforeEach(() => {
  aws.requests.length = 0;
  serveSts(aws, [web, user], region, () => deps.clock.nowMs);
});
afterAll(async () => {
  deps.close();
  await aws.close();
});

const csrDer = Buffer.from("the octets of a CSR");
const verifier = () => awsIamVerifier(attestorOf("aws-iam", { regions: [region, "eu-test-2"], endpoint: aws.url, caFile: aws.caFile, when: { account: "123456789012" } }), deps);
const signed = (by: StsCaller = web, more: Partial<AwsSigning> = {}): AwsIamSignature =>
  signCallerIdentity({ credentials: by, region, endpoint: aws.url, trustDomain: "east", csrDer, nowMs: deps.clock.nowMs, ...more });
const refused = (why: RegExp) => expect.objectContaining({ code: "attestation_refused", message: expect.stringMatching(why) as string }) as Error;

describe("a signed GetCallerIdentity request", () => {
  test("proves account and role of temporary credentials", async () => {
    const { facts, record } = await verifier()(signed(), csrDer);
    expect(factsToObject(facts)).toEqual({ account: "123456789012", role: "web", session: "i-0abc", arn: web.arn, uniqueId: "AROAEXAMPLE" });
    expect(record).toEqual({ account: "123456789012", arn: web.arn, userId: "AROAEXAMPLE:i-0abc" });
  });

  test("proves a user, who has no role", async () => {
    expect(factsToObject((await verifier()(signed(user), csrDer)).facts)).toEqual({ account: "123456789012", user: "alice", arn: user.arn, uniqueId: "AIDAEXAMPLE" });
  });

  test.each<[string, Partial<AwsSigning>]>([
    ["for another CA", { trustDomain: "west" }],
    ["for another CSR", { csrDer: Buffer.from("another CSR") }],
    ["for another host", { endpoint: "https://sts.example" }],
    ["an hour ago", { nowMs: Date.now() - 3_600_000 }],
    ["by another key", { credentials: { ...web, secretAccessKey: "guessed" } }],
    ["by nobody AWS knows", { credentials: { ...web, accessKeyId: "ASIAUNKNOWNUNKNOWN00" } }],
    ["without its session token", { credentials: { ...web, sessionToken: undefined } }],
  ])("is refused by AWS's word when it was signed %s", async (_claim, more) => {
    await expect(verifier()(signed(web, more), csrDer)).rejects.toThrow(refused(/does not accept its signature/));
  });

  test.each<[string, (good: AwsIamSignature) => object, RegExp]>([
    ["whose signature leaves out the CA", (good) => ({ authorization: good.authorization.replace("countersign-trust-domain;", "") }), /countersign-trust-domain is not signed/],
    ["whose signature leaves out the CSR", (good) => ({ authorization: good.authorization.replace("countersign-csr;", "") }), /countersign-csr is not signed/],
    ["whose signature leaves out the host", (good) => ({ authorization: good.authorization.replace("host;", "") }), /host is not signed/],
    ["of a region that is not the operator's", () => ({ region: "us-east-1" }), /region is none/],
    ["of a region that is a host of somebody's", () => ({ region: "evil.example/" }), /region is none/],
    ["scoped to another region than it says", () => ({ region: "eu-test-2" }), /another day or region/],
    ["scoped to another service", (good) => ({ authorization: good.authorization.replace("/sts/", "/iam/") }), /Version 4 for sts/],
    ["with a header that begins another", (good) => ({ authorization: `${good.authorization}\r\nx-evil: 1` }), /Version 4 for sts/],
    ["with such a session token", () => ({ sessionToken: "a\r\nx-evil: 1" }), /one line/],
    ["with such a date", () => ({ date: "20260101T000000\r" }), /date/],
  ])("%s is refused without asking AWS", async (_claim, change, why) => {
    const good = signed();
    await expect(verifier()({ ...good, ...change(good) }, csrDer)).rejects.toThrow(refused(why));
    expect(aws.requests).toEqual([]);
  });

  test("asks for nothing but who signed, whatever the caller sends", async () => {
    let seen = "";
    aws.answers.set("/", (request, body) => {
      seen = `${request.method} ${request.url} ${body}`;
      return { status: 403, text: "" };
    });
    await expect(verifier()({ ...signed(), body: "Action=AssumeRole", url: "/evil", headers: { host: "evil.example" } } as AwsIamSignature, csrDer)).rejects.toThrow(refused(/signature/));
    expect(seen).toBe("POST / Action=GetCallerIdentity&Version=2011-06-15");
  });

  test.each([
    ["a redirection", { status: 302, text: "", headers: { location: "https://evil.example/" } }, "attestation_refused"],
    ["an error of AWS's", { status: 500, text: "" }, "attestor_unavailable"],
    ["throttling", { status: 429, text: "" }, "attestor_unavailable"],
    ["XML", { text: "<GetCallerIdentityResponse><Account>123456789012</Account></GetCallerIdentityResponse>" }, "attestor_unavailable"],
    ["an account that is none", { json: { GetCallerIdentityResponse: { GetCallerIdentityResult: { Account: "../12345678", Arn: "a", UserId: "b" } } } }, "attestor_unavailable"],
  ])("proves nobody when the answer is %s", async (_claim, answer, code) => {
    aws.answers.set("/", () => answer);
    await expect(verifier()(signed(), csrDer)).rejects.toMatchObject({ code });
  });

  test.each([["eu-central-1", "https://sts.eu-central-1.amazonaws.com/"], ["us-gov-west-1", "https://sts.us-gov-west-1.amazonaws.com/"], ["cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"]])(
    "of %s is asked about at that region's own STS, %s, by AWS's certificate, where the operator names no other", async (own, sts) => {
      const asked: Outgoing[] = [];
      const verify = awsIamVerifier(attestorOf("aws-iam", { regions: [own], when: { account: "123456789012" } }), {
        trustDomain: "east",
        fetch: async (outgoing) => {
          asked.push(outgoing);
          return { status: 403, text: "" };
        },
      });
      await expect(verify(signed(web, { region: own, endpoint: undefined }), csrDer)).rejects.toThrow(refused(/signature/));
      expect(asked).toMatchObject([{ url: sts, caFile: undefined, headers: { host: new URL(sts).host }, body: "Action=GetCallerIdentity&Version=2011-06-15" }]);
    },
  );

  test("whose ARN is of another account than AWS names has no role", async () => {
    serveSts(aws, [{ ...web, arn: "arn:aws:sts::999999999999:assumed-role/web/x" }], region, () => deps.clock.nowMs);
    expect(factsToObject((await verifier()(signed(), csrDer)).facts)).not.toHaveProperty("role");
  });
});
