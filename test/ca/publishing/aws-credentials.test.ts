import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { awsCredentialSource } from "../../../ca/publishing/aws-credentials.ts";
import { webIdentityAnswer } from "../../support/sts-server.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-aws-credentials-"));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
let agent: Server;
let url: string;
let answer: (request: IncomingMessage, body: string) => { readonly status?: number; readonly text: string };
beforeAll(async () => {
  agent = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => {
      const { status = 200, text } = answer(request, Buffer.concat(chunks).toString());
      response.writeHead(status).end(text);
    });
  }).listen(0, "127.0.0.1");
  await once(agent, "listening");
  url = `http://127.0.0.1:${(agent.address() as AddressInfo).port}`;
});
/** The SDK looks at the whole environment, and at files in the home folder. */
beforeEach(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) vi.stubEnv(name, undefined);
  vi.stubEnv("HOME", folder);
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
});
afterEach(() => void vi.unstubAllEnvs());
afterAll(() => {
  agent.closeAllConnections();
  agent.close();
  rmSync(folder, { recursive: true });
});

describe("credentials of the CA and its commands, where the environment has none,", () => {
  test.each(["agent-token", "Basic cG9k"])("come from a container's agent (ECS, EKS Pod Identity), for the token in its file: %s", async (token) => {
    answer = ({ headers, url: path }) => (headers.authorization === token && path === "/v1/credentials"
      ? { text: JSON.stringify({ AccessKeyId: "ASIA", SecretAccessKey: "secret", Token: "session", Expiration: "2099-01-01T00:00:00Z" }) } : { status: 403, text: "" });
    vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", `${url}/v1/credentials`);
    vi.stubEnv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file("agent-token", `${token}`));
    expect(await awsCredentialSource({})()).toMatchObject({ accessKeyId: "ASIA", secretAccessKey: "secret", sessionToken: "session" });
  });

  test("come from STS for a service account's own token (EKS)", async () => {
    const role = { token: "eyJ.of.ca", roleArn: "arn:aws:iam::123456789012:role/ca", accessKeyId: "ASIACA", secretAccessKey: "secret-of-ca", sessionToken: "session-of-ca" };
    answer = (_, body) => webIdentityAnswer([role], new URLSearchParams(body));
    vi.stubEnv("AWS_REGION", "eu-central-1");
    vi.stubEnv("AWS_ENDPOINT_URL_STS", url);
    vi.stubEnv("AWS_ROLE_ARN", role.roleArn);
    vi.stubEnv("AWS_WEB_IDENTITY_TOKEN_FILE", file("web-identity-token", role.token));
    expect(await awsCredentialSource({})()).toMatchObject({ accessKeyId: "ASIACA", secretAccessKey: "secret-of-ca", sessionToken: "session-of-ca" });
    vi.stubEnv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/admin");
    await expect(awsCredentialSource({})()).rejects.toThrow(/as AWS would say/);
  });
});
