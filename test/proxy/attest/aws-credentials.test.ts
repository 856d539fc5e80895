import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { agentUrl, instanceHosts } from "../../../proxy/attest/aws-ask.ts";
import { awsCredentials } from "../../../proxy/attest/aws-credentials.ts";
import type { AwsEnvironment } from "../../../proxy/config/platform.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-aws-"));
let server: Server;
let url: string;
/** By method and path; undefined: 404. */
let answer: (request: IncomingMessage) => string | undefined = () => undefined;
beforeAll(async () => {
  server = createServer((request, response) => {
    const text = answer(request);
    response.writeHead(text === undefined ? 404 : 200).end(text);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  rmSync(folder, { recursive: true });
  server.closeAllConnections();
  server.close();
});
const ask = (env: Partial<AwsEnvironment>, containerHost?: string) => awsCredentials(env as AwsEnvironment, { region: "eu-central-1", endpoint: undefined }, containerHost);
const given = JSON.stringify({ AccessKeyId: "ASIA", SecretAccessKey: "secret", Token: "session", Expiration: "2026-11-21T18:00:00Z" });
const credentials = { accessKeyId: "ASIA", secretAccessKey: "secret", sessionToken: "session" };

describe("AWS credentials", () => {
  test("of the environment go before all others", async () => {
    expect(await ask({ AWS_ACCESS_KEY_ID: "AKIA", AWS_SECRET_ACCESS_KEY: "s", AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://evil.example/" })).toEqual({ accessKeyId: "AKIA", secretAccessKey: "s", sessionToken: undefined });
  });

  test("of a task on ECS come from its agent, at the path that the environment names", async () => {
    const seen: string[] = [];
    answer = ({ method, url: path = "", headers }) => {
      seen.push(`${method} ${path} ${headers.authorization}`);
      return path === "/v2/credentials/3f1a?x=1" ? given : undefined;
    };
    expect(await ask({ AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/v2/credentials/3f1a?x=1", AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://evil.example/" }, url)).toEqual(credentials);
    expect(seen).toEqual(["GET /v2/credentials/3f1a?x=1 undefined"]);
  });

  test.each(["//evil.example/x", "@evil.example/x", ".evil.example/x", "https://evil.example/x", "/a b"])("of a task are not asked for elsewhere: %s is no path", async (relative) => {
    const seen: string[] = [];
    answer = ({ url: path = "" }) => void seen.push(path);
    // A path that begins with two slashes stays one of the agent's.
    await expect(ask({ AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: relative }, url)).rejects.toThrow(/is no path|answered 404/);
    expect(seen).toEqual(relative.startsWith("//") ? [relative] : []);
  });

  test.each<[string, string | undefined]>([["pod-token\n", "pod-token"], ["Basic cG9k\n", "Basic cG9k"], ["other\n", undefined]])("of a pod (EKS Pod Identity) come from the node's agent for the token in the file as it is now: %j", async (text, authorization) => {
    const tokenFile = join(folder, "pod-token");
    writeFileSync(tokenFile, text);
    answer = ({ headers, url: path }) => (headers.authorization === authorization && path === "/v1/credentials" ? given : undefined);
    const env = { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/v1/credentials`, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: tokenFile, AWS_CONTAINER_AUTHORIZATION_TOKEN: "not this one" };
    await (authorization === undefined ? expect(ask(env)).rejects.toThrow(/answered 404/) : expect(ask(env)).resolves.toEqual(credentials));
  });

  test.each<[string, string, RegExp]>([["of two lines", "a\r\nx-evil: 1", /not one line/], ["that is not there", "", /cannot be read \(ENOENT\)/]])("of a pod whose token is in a file %s are not asked for", async (_claim, text, why) => {
    const tokenFile = join(folder, text === "" ? "none" : "odd");
    if (text !== "") writeFileSync(tokenFile, text);
    await expect(ask({ AWS_CONTAINER_CREDENTIALS_FULL_URI: url, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: tokenFile })).rejects.toMatchObject({ name: "EvidenceError", message: expect.stringMatching(why) as string });
  });

  test.each(["http://evil.example/", "http://169.254.169.254/", "http://169.254.170.20/", "http://127.evil.example/", "http://10.0.0.1/", "ftp://127.0.0.1/"])("are not asked for at %s, which could be anybody's", async (full) => {
    await expect(ask({ AWS_CONTAINER_CREDENTIALS_FULL_URI: full, AWS_CONTAINER_AUTHORIZATION_TOKEN: "pod-token" })).rejects.toMatchObject({ name: "EvidenceError", message: expect.stringContaining("own agents only") as string });
  });

  test("of an instance come by IMDSv2: a session first", async () => {
    const seen: string[] = [];
    answer = ({ method, url: path = "", headers }) => {
      seen.push(`${method} ${path}`);
      if (method === "PUT" && path === "/latest/api/token") return "imds-session";
      if (headers["x-aws-ec2-metadata-token"] !== "imds-session") return undefined;
      return path.endsWith("/security-credentials/") ? "web-role\n" : path.endsWith("/security-credentials/web-role") ? given : undefined;
    };
    expect(await ask({ AWS_EC2_METADATA_SERVICE_ENDPOINT: url })).toEqual(credentials);
    expect(seen).toEqual(["PUT /latest/api/token", "GET /latest/meta-data/iam/security-credentials/", "GET /latest/meta-data/iam/security-credentials/web-role"]);
  });

  test.each<[string, string, RegExp]>([
    ["that are none", "hunter2", /are no credentials/], ["without a key", JSON.stringify({ AccessKeyId: "ASIA" }), /are no credentials/], ["without end", "x".repeat(100_000), /too long/],
  ])("%s are refused, without being repeated", async (_claim, text, why) => {
    answer = () => text;
    await expect(ask({ AWS_CONTAINER_CREDENTIALS_FULL_URI: url })).rejects.toMatchObject({ name: "EvidenceError", message: expect.stringMatching(why) as string });
    await expect(ask({ AWS_CONTAINER_CREDENTIALS_FULL_URI: url })).rejects.toThrow(expect.not.stringContaining("hunter2") as string);
  });

  test.each<[string, RegExp]>([["http://evil.example/", /own agents only/], ["http://10.0.0.1/", /own agents only/], ["metadata", /is no URL/]])("of an instance are not asked for at %s", async (endpoint, why) => {
    await expect(ask({ AWS_EC2_METADATA_SERVICE_ENDPOINT: endpoint })).rejects.toMatchObject({ name: "EvidenceError", message: expect.stringMatching(why) as string });
  });

  test.each(["http://169.254.169.254", "http://[fd00:ec2::254]"])("of an instance may be asked for at %s, where AWS has them", (endpoint) => {
    expect(agentUrl("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint, instanceHosts).href).toBe(`${endpoint}/`);
    expect(() => agentUrl("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint)).toThrow(/own agents only/);
  });

  test.each(["../../../other", "role?x=1", " "])("of an instance are not asked for by a role that is no name: %j", async (role) => {
    const seen: string[] = [];
    answer = ({ method, url: path = "" }) => {
      seen.push(path);
      return method === "PUT" ? "imds-session" : path.endsWith("/security-credentials/") ? role : given;
    };
    await expect(ask({ AWS_EC2_METADATA_SERVICE_ENDPOINT: url })).rejects.toThrow("the instance has no role");
    expect(seen).toHaveLength(2);
  });

  test("of an instance whose agent gives a session that is none are not asked for, and it is told as such", async () => {
    answer = ({ method }) => (method === "PUT" ? "a\r\nx-evil: 1" : given);
    await expect(ask({ AWS_EC2_METADATA_SERVICE_ENDPOINT: url })).rejects.toMatchObject({ name: "EvidenceError", message: expect.stringContaining("no session") as string });
  });

  test("are missing where nobody gives any", async () => {
    answer = () => undefined;
    await expect(ask({ AWS_EC2_METADATA_SERVICE_ENDPOINT: url })).rejects.toThrow(/gives no credentials: it answered 404/);
  });
});
