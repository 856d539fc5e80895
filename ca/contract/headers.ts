export const mediaType = {
  json: "application/json",
  problem: "application/problem+json",
  pem: "application/x-pem-file",
  eventStream: "text/event-stream",
  crl: "application/pkix-crl",
  certificate: "application/pkix-cert",
  ocspRequest: "application/ocsp-request",
  ocspResponse: "application/ocsp-response",
} as const;

/** On every answer: names the request in the CA's log. */
export const requestIdHeader = "x-request-id";

/** On the answer of `GET /v1/bundle`, whose body is not ours to add to. */
export const feedEpochHeader = "countersign-feed-epoch";

/** Idempotency-Key request header: 1 to 255 printable ASCII characters, kept 24 h per caller. */
export const idempotencyKeyHeader = "idempotency-key";
