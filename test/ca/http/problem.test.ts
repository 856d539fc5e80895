import { describe, expect, test } from "vitest";
import { AuditError } from "../../../ca/audit/errors.ts";
import { problemStatus, type ProblemCode } from "../../../ca/contract/problem.ts";
import { answerProblem, isInternal, problemTitle } from "../../../ca/http/problem.ts";
import { problem } from "../../../ca/http/schemas/problem.ts";
import { PkiError, type PkiErrorCode } from "../../../ca/pki/errors.ts";
import { Refusal } from "../../../ca/refusal.ts";
import { StoreError, type StoreErrorCode } from "../../../ca/store/errors.ts";

const parse = (error: unknown) => {
  const answer = answerProblem(error, "req-1");
  return { ...answer, problem: problem.strict().parse(JSON.parse(answer.body ?? "")) };
};

describe("every code of the contract", () => {
  test.for(Object.keys(problemStatus) as ProblemCode[])("%s is answered with its status and a title", (code) => {
    const answer = parse(new Refusal(code, "What happened and what to do."));
    expect(answer.status).toBe(problemStatus[code]);
    expect(answer.contentType).toBe("application/problem+json");
    expect(answer.problem).toMatchObject({
      type: `urn:countersign:problem:${code}`,
      code,
      status: problemStatus[code],
      title: problemTitle[code],
    });
  });

  test("titles are sentences of their own", () => {
    expect(new Set(Object.values(problemTitle)).size).toBe(Object.keys(problemStatus).length);
  });
});

test("what to wait before trying again is said for each 503, and as a refusal asks", () => {
  expect(answerProblem(new Refusal("store_busy", "."), "r").headers).toMatchObject({ "retry-after": "2" });
  expect(answerProblem(new Refusal("issuer_unavailable", ".", { retryAfterSeconds: 7.2 }), "r").headers).toMatchObject({
    "retry-after": "8",
  });
  expect(answerProblem(new Refusal("not_found", "."), "r").headers).not.toHaveProperty("retry-after");
});

describe("a store error", () => {
  test.for([
    ["key_reused", "key_reused"],
    ["token_unknown", "token_unknown"],
    ["token_already_redeemed", "token_already_redeemed"],
    ["idempotency_conflict", "idempotency_key_reused"],
    ["certificate_unknown", "not_found"],
    ["already_revoked", "already_revoked"],
    ["authority_superseded", "issuer_unavailable"],
    ["store_busy", "store_busy"],
    ["store_unavailable", "store_unavailable"],
    ["log_inconsistent", "store_unavailable"],
    ["serial_taken", "internal"],
    ["already_initialized", "internal"],
  ] as const satisfies readonly (readonly [StoreErrorCode, ProblemCode])[])(
    "%s becomes %s, and its message stays inside",
    ([code, expected]) => {
      const answer = parse(new StoreError(code, "postgres://ca:hunter2@db.internal/ca"));
      expect(answer.problem.code).toBe(expected);
      expect(answer.body).not.toContain("hunter2");
      expect(answer.problem.detail.length).toBeGreaterThan(20);
    },
  );
});

describe("a kernel error", () => {
  test.for([
    ["csr_malformed", "csr_refused"],
    ["csr_signature_invalid", "csr_refused"],
    ["public_key_weak", "csr_refused"],
    ["der_malformed", "csr_refused"],
    ["pem_malformed", "csr_refused"],
    ["spiffe_id_malformed", "spiffe_id_refused"],
    ["renewal_proof_malformed", "proof_refused"],
    ["path_expired", "proof_refused"],
    ["svid_leaf_is_ca", "proof_refused"],
  ] as const satisfies readonly (readonly [PkiErrorCode, ProblemCode])[])("%s becomes %s", ([code, expected]) => {
    expect(parse(new PkiError(code, "why")).problem).toMatchObject({ code: expected, detail: "why" });
  });

  test("about nothing a caller sends is our own fault", () => {
    expect(parse(new PkiError("bundle_malformed", "why")).status).toBe(500);
  });
});

test("a proof of what the log does not have is the caller's fault, one we cannot make is ours", () => {
  expect(parse(new AuditError("proof_out_of_range", "why")).problem.code).toBe("invalid_request");
  expect(parse(new AuditError("proof_source_incomplete", "why")).status).toBe(500);
});

describe("an error nobody foresaw", () => {
  test.for([
    ["an error", new Error("secret-token at /srv/db")],
    ["a string", "secret-token"],
    ["nothing", undefined],
    ["an object", { code: "not_found", message: "secret-token" }],
  ])("%s becomes a bare 500 that names the request and nothing else", ([, error]) => {
    const answer = parse(error);
    expect([answer.status, answer.problem.code]).toEqual([500, "internal"]);
    expect(answer.body).not.toContain("secret-token");
    expect(answer.problem.detail).toContain("req-1");
    expect(isInternal(error)).toBe(true);
  });

  test("a refusal of our own with status 500 keeps its detail to itself too", () => {
    const answer = parse(new Refusal("lint_failed", "secret-token"));
    expect(answer.problem.code).toBe("lint_failed");
    expect(answer.body).not.toContain("secret-token");
    expect(isInternal(new Refusal("lint_failed", ""))).toBe(true);
    expect(isInternal(new Refusal("not_found", ""))).toBe(false);
  });
});
