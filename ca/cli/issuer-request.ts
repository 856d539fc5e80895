import { generateKeyPairSync, randomUUID } from "node:crypto";
import type { IssuedIssuer, IssueIssuerRequest } from "../contract/issuers.ts";
import { paths } from "../contract/paths.ts";
import { encodeCsr } from "../pki/csr.ts";
import { ApiError, type Api } from "./api.ts";
import type { IssuerMaterial } from "./issuer-secret.ts";

/**
 * Makes a key here and has an issuer signed for it. A request whose answer was lost is repeated as it was, key and all, so that no second
 * issuer is signed beside one that nobody holds; once it was answered, or refused, the next one has a new key.
 * @throws {ApiError} from the function it returns
 */
export function issuerRequests(client: Pick<Api, "call">, wanted: Omit<IssueIssuerRequest, "csr">) {
  let open: OpenRequest | undefined;

  return async function obtain(): Promise<IssuerMaterial & IssuedIssuer> {
    const { body, key, idempotencyKey } = (open ??= newRequest(wanted));
    try {
      const issued = await client.call<IssuedIssuer>("POST", paths.issuers, body, idempotencyKey);
      open = undefined;
      return { ...issued, key };
    } catch (error) {
      if (error instanceof ApiError && isRefused(error)) open = undefined;
      throw error;
    }
  };
}

interface OpenRequest {
  readonly body: IssueIssuerRequest;
  /** PKCS#8, PEM. */
  readonly key: string;
  readonly idempotencyKey: string;
}

function newRequest(wanted: Omit<IssueIssuerRequest, "csr">): OpenRequest {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const csr = Buffer.from(encodeCsr({ privateKey })).toString("base64");
  return { body: { csr, ...wanted }, key: privateKey.export({ format: "pem", type: "pkcs8" }).toString(), idempotencyKey: randomUUID() };
}

/** Whether nothing was signed and nothing will be: a server's error, or something in between, may hide that something was. */
function isRefused({ status }: ApiError): boolean {
  return status !== undefined && status >= 400 && status < 500 && status !== tooManyRequests;
}

const tooManyRequests = 429;
