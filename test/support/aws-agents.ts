import { createServer } from "node:http";
import { awsCredentialSource } from "../../ca/publishing/aws-credentials.ts";
import { awsCredentials } from "../../proxy/attest/aws-credentials.ts";
import type { AwsEnvironment } from "../../proxy/config/platform.ts";

/**
 * Run in a network namespace that has AWS's link-local addresses: serves what answers there, and prints which of them gave the credentials that
 * the proxy and the CA find in each environment.
 */
const agents: Readonly<Record<string, (method: string, path: string, header: (name: string) => string | undefined) => string | undefined>> = {
  "169.254.170.2": (_method, path) => (path === "/v2/credentials/task" ? "ecs" : undefined),
  "169.254.170.23": (_method, path, header) => (path === "/v1/credentials" && header("authorization") === "pod-token" ? "eks" : undefined),
  "169.254.169.254": (method, path, header) => {
    if (method === "PUT" && path === "/latest/api/token") return "session";
    if (header("x-aws-ec2-metadata-token") !== "session") return undefined;
    return path.endsWith("/security-credentials/") ? "role" : "ec2";
  },
};
const servers = await Promise.all(Object.entries(agents).map(([address, agent]) => new Promise<ReturnType<typeof createServer>>((resolve) => {
  const server = createServer((request, response) => {
    const found = agent(request.method ?? "", request.url ?? "", (name) => request.headers[name] as string | undefined);
    const text = found === undefined || found === "session" || found === "role" ? found
      : JSON.stringify({ Code: "Success", Type: "AWS-HMAC", LastUpdated: "2026-01-01T00:00:00Z", AccessKeyId: found, SecretAccessKey: "secret", Token: "session", Expiration: "2099-01-01T00:00:00Z" });
    response.writeHead(text === undefined ? 404 : 200).end(text);
  }).listen(80, address, () => resolve(server));
})));
const environments: readonly Readonly<Record<string, string>>[] = [
  { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/v2/credentials/task" },
  { AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://169.254.170.23/v1/credentials", AWS_CONTAINER_AUTHORIZATION_TOKEN: "pod-token" },
  {},
];
const found: string[] = [];
for (const environment of environments) {
  Object.assign(process.env, environment);
  const [proxy, ca] = [await awsCredentials(environment as AwsEnvironment, { region: "eu-central-1", endpoint: undefined }), await awsCredentialSource({})()];
  for (const name of Object.keys(environment)) delete process.env[name];
  found.push(`${proxy.accessKeyId} ${ca.accessKeyId}`);
}
console.log(found.join("\n"));
for (const server of servers) {
  server.closeAllConnections();
  server.close();
}
