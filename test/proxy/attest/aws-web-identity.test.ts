import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { awsCredentials } from "../../../proxy/attest/aws-credentials.ts";
import { webIdentityCredentials } from "../../../proxy/attest/aws-web-identity.ts";
import type { AwsEnvironment } from "../../../proxy/config/platform.ts";
import { webIdentityAnswer, type WebIdentity } from "../../support/sts-server.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-web-identity-"));
const tokenFile = join(folder, "token");
const cart: WebIdentity = { token: "eyJ.of.cart", roleArn: "arn:aws:iam::123456789012:role/cart", accessKeyId: "ASIACART", secretAccessKey: "secret/of+cart", sessionToken: "session/of+cart==" };
const asked: URLSearchParams[] = [];
let sts: Server;
let url: string;
let answer: (body: URLSearchParams) => { status?: number; text: string };
beforeAll(async () => {
  sts = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => {
      const body = new URLSearchParams(Buffer.concat(chunks).toString());
      asked.push(body);
      const { status = 200, text } = answer(body);
      response.writeHead(request.method === "POST" && request.url === "/" ? status : 404, { "content-type": "text/xml" }).end(text);
    });
  }).listen(0, "127.0.0.1");
  await once(sts, "listening");
  url = `http://127.0.0.1:${(sts.address() as AddressInfo).port}`;
});
beforeEach(() => {
  asked.length = 0;
  answer = (body) => webIdentityAnswer([cart], body);
  writeFileSync(tokenFile, `${cart.token}\n`);
});
afterAll(() => {
  sts.closeAllConnections();
  sts.close();
  rmSync(folder, { recursive: true });
});
const environment = (more: Partial<AwsEnvironment> = {}): AwsEnvironment => ({ AWS_WEB_IDENTITY_TOKEN_FILE: tokenFile, AWS_ROLE_ARN: cart.roleArn, AWS_ENDPOINT_URL_STS: url, ...more }) as AwsEnvironment;
const ask = (more: Partial<AwsEnvironment> = {}, endpoint?: string) => awsCredentials(environment(more), { region: "eu-central-1", endpoint });
const given = { accessKeyId: "ASIACART", secretAccessKey: "secret/of+cart", sessionToken: "session/of+cart==" };

describe("a pod whose service account has a role (EKS)", () => {
  test("gets the role's credentials for its own token, before those of any agent", async () => {
    expect(await ask({ AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://evil.example/" })).toEqual(given);
    expect(Object.fromEntries(asked[0]!)).toEqual({ Action: "AssumeRoleWithWebIdentity", Version: "2011-06-15", RoleArn: cart.roleArn, RoleSessionName: "countersign-proxy", WebIdentityToken: cart.token });
    await ask({ AWS_ROLE_SESSION_NAME: "cart-7" });
    expect(asked[1]!.get("RoleSessionName")).toBe("cart-7");
  });

  test("reads its token anew each time, as kubelets replace it", async () => {
    await ask();
    writeFileSync(tokenFile, "eyJ.of.later\n");
    await expect(ask()).rejects.toThrow(/InvalidIdentityToken/);
    expect(asked.map((body) => body.get("WebIdentityToken"))).toEqual([cart.token, "eyJ.of.later"]);
  });

  test("asks the STS that the environment names, or else the one that the CA asks", async () => {
    expect(await ask({}, "https://sts.example/")).toEqual(given);
    expect(await ask({ AWS_ENDPOINT_URL_STS: "" }, url)).toEqual(given);
  });

  test.each<[string, Partial<AwsEnvironment>, string | undefined]>([
    ["that anybody could be", { AWS_ENDPOINT_URL_STS: "http://sts.example/" }, undefined], ["that the operator named without TLS", { AWS_ENDPOINT_URL_STS: undefined }, "http://sts.example/"],
  ])("does not send its token to an STS %s", async (_claim, more, endpoint) => {
    await expect(ask(more, endpoint)).rejects.toMatchObject({ name: "EvidenceError", message: expect.stringContaining("own agents only") as string });
  });

  test("is told why it gets none, in AWS's code, without its token", async () => {
    await expect(ask({ AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/admin" })).rejects.toThrow(/does not give this pod the role arn:aws:iam::123456789012:role\/admin: it answered 403 \(AccessDenied\)/);
    answer = () => ({ status: 400, text: `<Message>${cart.token}</Message>` });
    await expect(ask()).rejects.toThrow(expect.not.stringContaining(cart.token) as string);
  });

  test.each<[string, string]>([["nothing", ""], ["no key", "<AccessKeyId>A</AccessKeyId>"], ["what is no key", "<AccessKeyId>A</AccessKeyId><SecretAccessKey>a\r\nb</SecretAccessKey><SessionToken>c</SessionToken>"]])("has none where STS answers %s", async (_claim, text) => {
    answer = () => ({ text });
    await expect(ask()).rejects.toThrow(/are no credentials/);
  });

  test.each<Partial<AwsEnvironment>>([{ AWS_ROLE_ARN: undefined }, { AWS_WEB_IDENTITY_TOKEN_FILE: "" }])("is none where the environment lacks one half: %j", async (more) => {
    expect(await webIdentityCredentials(environment(more), { region: "eu-central-1", endpoint: undefined })).toBeUndefined();
    expect(asked).toEqual([]);
  });
});
