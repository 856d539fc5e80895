import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { freePort } from "../../infra/demo/place.ts";
import { answerKms, KmsFault, type KmsKeys, type StoredKey } from "./kms-operations.ts";
import { checkSigV4 } from "./sigv4.ts";

/**
 * AWS KMS as its clients see it, over a real socket: JSON 1.1, SigV4 checked in full, its limits, its states and the shapes of
 * its errors. What goes wrong is set by the test.
 */
export interface KmsServer {
  readonly endpoint: string;
  /** Environment for the AWS SDK. */
  readonly env: Readonly<Record<string, string>>;
  /** Every request that arrived, in order. */
  readonly calls: readonly KmsCall[];
  count(operation: string): number;
  /** Changed at will by tests. */
  readonly faults: KmsFaults;
  readonly keys: KmsKeys;
  /** Makes a key beforehand, as an operator does. */
  createKey(spec: string, usage?: "SIGN_VERIFY" | "ENCRYPT_DECRYPT"): StoredKey;
  /** Breaks all connections and refuses new ones, until `up`. */
  down(): Promise<void>;
  up(): Promise<void>;
  close(): Promise<void>;
}

export interface KmsCall {
  readonly operation: string;
  readonly keyId: string | undefined;
  /** `ok` or the error's type. */
  readonly outcome: string;
}

export interface KmsFaults {
  /** So many calls from now on are throttled. */
  throttleNext: number;
  /** So many calls from now on do not find their key yet: eventual consistency. */
  unknownNext: number;
  /** So many calls from now on fail within KMS. */
  internalNext: number;
  /** Each answer waits so long. */
  delayMs: number;
  /** Awaited before each answer; for tests that decide when. */
  hold: Promise<void> | undefined;
}

export interface KmsServerOptions {
  /** PEM; without it the server speaks plain HTTP. */
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly now?: () => number;
}

export async function startKmsServer({ tls, now = Date.now }: KmsServerOptions = {}): Promise<KmsServer> {
  const keys: KmsKeys = { byId: new Map(), aliases: new Map(), region };
  const calls: KmsCall[] = [];
  const faults: KmsFaults = { throttleNext: 0, unknownNext: 0, internalNext: 0, delayMs: 0, hold: undefined };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const operation = /^TrentService\.(\w+)$/.exec(String(request.headers["x-amz-target"]))?.[1] ?? "none";
    let keyId: string | undefined;
    try {
      const fault = checkSigV4(request, body, { ...credentials, region, service: "kms", nowMs: now() });
      if (fault !== undefined) throw new KmsFault(fault.type, fault.message);
      if (request.method !== "POST" || request.url !== "/") throw new KmsFault("UnknownOperationException", "");
      if (request.headers["content-type"] !== "application/x-amz-json-1.1") throw new KmsFault("SerializationException", "wrong content type");
      const input = JSON.parse(body.toString()) as Record<string, unknown>;
      keyId = input["KeyId"] as string | undefined;
      if (take("throttleNext")) throw new KmsFault("ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.");
      if (take("internalNext")) throw new KmsFault("KMSInternalException", "", 500);
      if (take("unknownNext")) throw new KmsFault("NotFoundException", `Key '${keyId}' does not exist`);
      if (faults.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, faults.delayMs));
      await faults.hold;
      const answer = answerKms(operation, input, keys);
      calls.push({ operation, keyId, outcome: "ok" });
      send(response, 200, answer);
    } catch (error) {
      if (!(error instanceof KmsFault)) throw error;
      calls.push({ operation, keyId, outcome: error.type });
      send(response, error.status, { __type: error.type, message: error.message });
    }
  }

  function take(name: "throttleNext" | "unknownNext" | "internalNext"): boolean {
    if (faults[name] <= 0) return false;
    faults[name]--;
    return true;
  }

  const onRequest = (request: IncomingMessage, response: ServerResponse): void =>
    void handle(request, response).catch((error: unknown) => response.destroy(error as Error));
  const open = (port: number) =>
    new Promise<ReturnType<typeof createServer>>((resolve) => {
      const server = tls === undefined ? createServer(onRequest) : createTlsServer(tls, onRequest);
      server.listen(port, "127.0.0.1", () => resolve(server));
    });
  const shut = (server: ReturnType<typeof createServer>) =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  const port = await freePort();
  let server = await open(port);
  return {
    endpoint: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    env: {
      AWS_ACCESS_KEY_ID: credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey, AWS_REGION: region,
      AWS_EC2_METADATA_DISABLED: "true",
    },
    calls, faults, keys,
    count: (operation) => calls.filter((call) => call.operation === operation).length,
    createKey(spec, usage = "SIGN_VERIFY") {
      const { KeyMetadata } = answerKms("CreateKey", { KeySpec: spec, KeyUsage: usage }, keys) as { KeyMetadata: { KeyId: string } };
      return keys.byId.get(KeyMetadata.KeyId)!;
    },
    down: () => shut(server),
    up: async () => void (server = await open(port)),
    close: () => shut(server),
  };
}

function send(response: ServerResponse, status: number, answer: object): void {
  response.writeHead(status, { "content-type": "application/x-amz-json-1.1", "x-amzn-requestid": randomUUID() }).end(JSON.stringify(answer));
}

const region = "eu-test-1";
const credentials = { accessKeyId: "AKIATEST0COUNTERSIGN", secretAccessKey: "test-secret-of-nobody" };
