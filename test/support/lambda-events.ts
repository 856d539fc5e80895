/**
 * A request as each front end of AWS Lambda hands it on: the documented shapes, every field that is documented, values of a request of ours.
 * @source AWS Lambda Developer Guide, "Invoking Lambda function URLs" (payload 2.0); API Gateway Developer Guide, "Lambda proxy integrations"
 *   (1.0) and "Create AWS Lambda proxy integrations for HTTP APIs" (2.0); Elastic Load Balancing, "Use Lambda functions as targets"
 */
export interface EventRequest {
  readonly method: string;
  readonly path: string;
  /** As it was sent. */
  readonly query?: string;
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly base64?: boolean;
}

export const frontEnds = {
  "a Function URL": (request: EventRequest) => payload2(request, "<url-id>.lambda-url.eu-central-1.on.aws"),
  "API Gateway, payload 2.0": (request: EventRequest) => payload2(request, "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"),
  "API Gateway, payload 1.0": payload1,
  "an ALB": (request: EventRequest) => loadBalancer(request, false),
  "an ALB with multi-value headers": (request: EventRequest) => loadBalancer(request, true),
} as const;

function payload2({ method, path, query = "", headers = {}, body, base64 = false }: EventRequest, domainName: string): object {
  const { cookie, ...others } = headers;
  return {
    version: "2.0", routeKey: "$default", rawPath: path, rawQueryString: query,
    ...(cookie !== undefined && { cookies: cookie.split("; ") }),
    headers: { "x-forwarded-for": sourceIp, "x-forwarded-port": "443", "x-forwarded-proto": "https", host: domainName, ...others },
    ...(query !== "" && { queryStringParameters: Object.fromEntries(new URLSearchParams(query)) }),
    requestContext: {
      accountId: "123456789012", apiId: domainName.split(".")[0], domainName, domainPrefix: domainName.split(".")[0],
      authentication: { clientCert: clientCertificate },
      http: { method, path, protocol: "HTTP/1.1", sourceIp, userAgent: "agent" },
      requestId: "id", routeKey: "$default", stage: "$default", time: "12/Mar/2020:19:03:58 +0000", timeEpoch: 1583348638390,
    },
    ...bodyOf(body, base64), isBase64Encoded: base64,
  };
}

function payload1({ method, path, query = "", headers = {}, body, base64 = false }: EventRequest): object {
  const sent = { ...forwarded, Host: "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com", ...headers };
  return {
    resource: "/{proxy+}", path, httpMethod: method, headers: sent, multiValueHeaders: multi(Object.entries(sent)),
    queryStringParameters: query === "" ? null : Object.fromEntries(new URLSearchParams(query)),
    multiValueQueryStringParameters: query === "" ? null : multi(new URLSearchParams(query)),
    pathParameters: { proxy: path.slice(1) }, stageVariables: null,
    requestContext: {
      accountId: "123456789012", apiId: "a1b2c3d4e5", domainName: "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com", domainPrefix: "a1b2c3d4e5",
      extendedRequestId: "request-id", httpMethod: method,
      identity: { accessKey: null, accountId: null, caller: null, sourceIp, user: null, userAgent: "agent", userArn: null, clientCert: clientCertificate },
      path: `/prod${path}`, protocol: "HTTP/1.1", requestId: "id=", requestTime: "04/Mar/2020:19:15:17 +0000", requestTimeEpoch: 1583349317135,
      resourceId: null, resourcePath: "/{proxy+}", stage: "prod",
    },
    body: null, ...bodyOf(body, base64), isBase64Encoded: base64,
  };
}

function loadBalancer({ method, path, query = "", headers = {}, body, base64 = false }: EventRequest, isMulti: boolean): object {
  const sent = { ...Object.fromEntries(Object.entries(forwarded).map(([name, value]) => [name.toLowerCase(), value])), host: "lambda-alb-1234578498.us-east-2.elb.amazonaws.com", "x-amzn-mtls-clientcert-leaf": encodeURIComponent(clientCertificate.clientCertPem), ...headers };
  // As they came: an ALB decodes neither names nor values.
  const pairs = query.split("&").filter((pair) => pair !== "").map((pair) => pair.split("=", 2) as [string, string]);
  return {
    requestContext: { elb: { targetGroupArn: "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/lambda-279XGJDqGZ5rsrHC2Fjr/49e9d65c45c6791a" } },
    httpMethod: method, path,
    ...(isMulti
      ? { multiValueQueryStringParameters: multi(pairs), multiValueHeaders: multi(Object.entries(sent)) }
      : { queryStringParameters: Object.fromEntries(pairs), headers: sent }),
    body: "", ...bodyOf(body, base64), isBase64Encoded: base64,
  };
}

function bodyOf(body: string | undefined, base64: boolean): object {
  return body === undefined ? {} : { body: base64 ? Buffer.from(body).toString("base64") : body };
}

function multi(pairs: Iterable<readonly [string, string]>): Record<string, string[]> {
  const values: Record<string, string[]> = {};
  for (const [name, value] of pairs) (values[name] ??= []).push(value);
  return values;
}

const sourceIp = "205.255.255.176";
const forwarded = { "X-Forwarded-For": sourceIp, "X-Forwarded-Port": "443", "X-Forwarded-Proto": "https" };
/** What a front end that does mutual TLS tells of its client; from who can reach the function directly, anything. */
const clientCertificate = {
  clientCertPem: "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ2xp\n-----END CERTIFICATE-----\n", subjectDN: "CN=admin", issuerDN: "CN=Example issuer",
  serialNumber: "a1:a1:a1", validity: { notBefore: "May 28 12:30:02 2019 GMT", notAfter: "Aug  5 09:36:04 2099 GMT" },
};
