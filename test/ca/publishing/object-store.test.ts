import type { LookupFunction } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { awsCredentialSource } from "../../../ca/publishing/aws-credentials.ts";
import { openObjectStore, parseBucketUrl, type ObjectStoreConfig } from "../../../ca/publishing/object-store.ts";
import { startObjectServer, type ObjectServer } from "../../support/object-server.ts";
import { dns, testAuthority } from "../../support/test-ca.ts";

const web = testAuthority({ trustDomain: "web.example" });
const leaf = web.leaf({ names: [dns("localhost"), dns("*.store.example")] });
let server: ObjectServer;
let secure: ObjectServer;
beforeAll(async () => {
  server = await startObjectServer();
  secure = await startObjectServer({ tls: { key: leaf.privateKeyPem, cert: leaf.chainPem }, sessionToken: "session/token+==", virtualHost: "store.example" });
});
afterAll(async () => {
  await server.close();
  await secure.close();
});

/** All hosts are here. */
const lookup: LookupFunction = (_host, options, found) => (options.all === true ? found(null, [{ address: "127.0.0.1", family: 4 }]) : found(null, "127.0.0.1", 4));
const json = { type: "application/json" };
const open = (of: ObjectServer, more: Partial<ObjectStoreConfig> = {}, env: Readonly<Record<string, string>> = {}, now = () => new Date(), timeoutMs = 10_000) => openObjectStore(
  { bucket: "hub", prefix: "fleet one/", region: "eu-central-1", endpoint: of.endpoint, ...more }, { credentials: awsCredentialSource({ ...of.env, ...env }), now, timeoutMs, lookup },
);
const fault = (code: string, why: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(why) as string }) as Error;
const answering = (status: number, headers: Readonly<Record<string, string>>, body: string): void => {
  server.answerNext = (_, response) => void response.writeHead(status, headers).end(body);
};

describe("an object", () => {
  test("is put under its key, signed with its body, whatever characters the key has", async () => {
    for (const key of ["west.json", "a b/c+d,(e)!*'~.json", "ü%41"]) await open(server).put(key, `{"key":"${key}"}`, { ...json, cacheControl: "max-age=60" });
    expect([...server.objects.keys()]).toEqual(["hub/fleet one/west.json", "hub/fleet one/a b/c+d,(e)!*'~.json", "hub/fleet one/ü%41"]);
    expect(server.objects.get("hub/fleet one/west.json")).toMatchObject({ body: Buffer.from(`{"key":"west.json"}`), type: "application/json", cacheControl: "max-age=60" });
  });

  test("is put over TLS into a bucket that is in the host's name, by temporary credentials", async () => {
    await open(secure, { endpoint: secure.endpoint.replace("localhost", "{bucket}.store.example"), roots: web.pem }).put("west.json", "{}", json);
    expect([...secure.objects.keys()]).toEqual(["hub/fleet one/west.json"]);
    await expect(open(secure).put("west.json", "{}", json)).rejects.toThrow(fault("bucket_unreachable", /cannot reach localhost/));
    await expect(open(secure, { roots: web.pem }, { AWS_SESSION_TOKEN: "" }).put("west.json", "{}", json)).rejects.toThrow(fault("bucket_refused", /AccessDenied/));
  });

  test.each<[string, () => Promise<void>, string, RegExp]>([
    ["by another's secret", () => open(server, {}, { AWS_SECRET_ACCESS_KEY: "hunter2" }).put("x", "", json), "bucket_refused", /SignatureDoesNotMatch.*secret key/],
    ["by credentials that nobody knows", () => open(server, {}, { AWS_ACCESS_KEY_ID: "AKIANOBODY" }).put("x", "", json), "bucket_refused", /does not know these credentials/],
    ["for another region", () => open(server, { region: "us-west-1" }).put("x", "", json), "bucket_refused", /SignatureDoesNotMatch/],
    ["at another time", () => open(server, {}, {}, () => new Date(0)).put("x", "", json), "bucket_refused", /SignatureDoesNotMatch/],
    ["that is too large", () => open(server).put("x", new Uint8Array(64 * 1024 * 1024 + 1), json), "object_too_large", /the limit is/],
    ["outside its prefix", () => open(server).put("../other", "", json), "bucket_url_refused", /no key/],
  ])("%s is refused, with what to do", async (_claim, put, code, why) => {
    await expect(put()).rejects.toThrow(fault(code, why));
  });

  test.each<[string, number, Readonly<Record<string, string>>, string, string, RegExp]>([
    ["in another region", 301, { "x-amz-bucket-region": "us-west-2" }, "<Error><Code>PermanentRedirect</Code></Error>", "bucket_refused", /it is in us-west-2, not eu-central-1; set AWS_REGION/],
    ["that is not there", 404, {}, "<Error><Code>NoSuchBucket</Code></Error>", "bucket_refused", /make it first/],
    ["of a store that is busy", 503, {}, "<Error><Code>SlowDown</Code></Error>", "bucket_unreachable", /try again/],
    ["of what is no store", 200 + 4, {}, "", "bucket_refused", /status 204/],
  ])("a bucket %s is told apart", async (_claim, status, headers, body, code, why) => {
    answering(status, headers, body);
    await expect(open(server).put("x", "", json)).rejects.toThrow(fault(code, why));
  });

  test("is given up when nobody answers in time, and nothing of the credentials is in the message", async () => {
    server.answerNext = () => undefined;
    const error: unknown = await open(server, {}, {}, undefined, 200).put("x", "", json).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: "bucket_unreachable", message: expect.stringMatching(/nothing within 0.2 s/) as string });
    expect(String(error)).not.toContain("AKIA");
  });
});

describe("a bucket's address", () => {
  test.each([["s3://hub", { bucket: "hub", prefix: "" }], ["s3://hub.example/a/b/", { bucket: "hub.example", prefix: "a/b/" }]])("%s is read", (text, parts) => {
    expect(parseBucketUrl(text)).toEqual(parts);
  });

  test.each(["s3://", "s3://Hub", "https://hub", "s3://h/\u0000", "s3://a"])("%s is refused", (text) => {
    expect(() => parseBucketUrl(text)).toThrow(fault("bucket_url_refused", /s3:\/\/bucket/));
  });

  test.each(["http://minio.example", "https://user@minio.example", "https://minio.example/path", "minio"])("an endpoint %s is refused: what is sent there could be anybody's, or goes elsewhere", (endpoint) => {
    expect(() => open(server, { endpoint })).toThrow(fault("bucket_url_refused", /https/));
  });

  test("without a region nothing of AWS's can be named", () => {
    expect(() => openObjectStore({ bucket: "hub", prefix: "", region: "" }, { credentials: awsCredentialSource({}), now: () => new Date() })).toThrow(fault("bucket_url_refused", /AWS_REGION/));
  });
});
