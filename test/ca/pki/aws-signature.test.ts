import { describe, expect, test } from "vitest";
import { awsAuthorization, awsDate } from "../../../ca/pki/aws-signature.ts";
import { sha256 } from "../../../ca/pki/sha256.ts";

const hash = (text: string): string => sha256(text).toString("hex");
const credentials = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const date = "20130524T000000Z";
const host = "examplebucket.s3.amazonaws.com";

/** Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk", its four examples. */
const examples: readonly (readonly [string, Omit<Parameters<typeof awsAuthorization>[0], "headers" | "bodyHash">, Readonly<Record<string, string>>, string, string])[] = [
  ["GET Object", { method: "GET", path: "/test.txt" }, { range: "bytes=0-9" }, "", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"],
  ["PUT Object", { method: "PUT", path: "/test%24file.text" }, { date: "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY" }, "Welcome to Amazon S3.", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"],
  ["GET Bucket Lifecycle", { method: "GET", path: "/", query: ["lifecycle="] }, {}, "", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"],
  ["GET Bucket (List Objects)", { method: "GET", path: "/", query: ["prefix=J", "max-keys=2"] }, {}, "", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"],
];

describe("a signature", () => {
  test.each(examples)("is that of AWS's own example: %s", (_name, request, headers, body, signature) => {
    const bodyHash = hash(body);
    const signed = awsAuthorization({ ...request, headers: { ...headers, host, "x-amz-date": date, "x-amz-content-sha256": bodyHash }, bodyHash }, { region: "us-east-1", service: "s3", date }, credentials);
    expect(signed.endsWith(`Signature=${signature}`)).toBe(true);
    expect(signed).toContain("Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=");
  });

  test("names its second", () => {
    expect(awsDate(Date.UTC(2013, 4, 24))).toBe(date);
  });
});
