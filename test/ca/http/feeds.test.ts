import { hash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hashLeaf } from "../../../ca/audit/merkle.ts";
import { acknowledgedText } from "../../../ca/contract/acknowledgements.ts";
import type { AuditEntryPage, ConsistencyProof, InclusionProof } from "../../../ca/contract/audit.ts";
import type { RevocationPage } from "../../../ca/contract/revocations.ts";
import { auditEntryPage, consistencyProof, inclusionProof } from "../../../ca/http/schemas/audit.ts";
import { authorityList } from "../../../ca/http/schemas/authorities.ts";
import { revocationPage } from "../../../ca/http/schemas/revocations.ts";
import { parseBundle } from "../../../ca/pki/bundle.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { decodePem } from "../../../ca/pki/pem.ts";
import { encodeRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { chainOf, newCsr } from "../../support/running-ca.ts";
import { eventReader } from "../../support/event-reader.ts";
import { startTestApp, type TestApp } from "../../support/running-app.ts";

let app: TestApp;
beforeAll(async () => void (app = await startTestApp()));
afterAll(() => app.close());

async function revokeOne(): Promise<string> {
  const { serialNumber } = await app.ca.issue(
    { csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/a" } },
    { caller: app.admin },
  );
  await app.ca.revoke(serialNumber, "superseded", app.admin);
  return serialNumber;
}

describe("POST /v1/acknowledgements", () => {
  test("takes down which bundle a certificate's holder holds, and refuses one that does not exist", async () => {
    const { csr, privateKey } = newCsr();
    const issued = await app.ca.issue({ csr, attestation: { type: "operator", spiffeId: "spiffe://east/a" } }, { caller: app.admin });
    const acknowledge = (bundleSequence: string) => {
      const held = { feedEpoch: issued.feedEpoch, bundleSequence };
      const bound = Buffer.from(acknowledgedText(held));
      const proof = encodeRenewalProof({ chain: chainOf(issued), privateKey, csr: bound, audience: "east", nowMs: app.clock.nowMs, purpose: "acknowledgement" });
      return app.call("POST", "/v1/acknowledgements", { json: { ...held, proof } });
    };
    expect((await acknowledge("7")).problem).toMatchObject({ status: 409, code: "bundle_unknown" });
    expect((await acknowledge("x")).problem.code).toBe("invalid_request");
    expect((await acknowledge("1")).status).toBe(204);
    expect((await app.store.certificate(issued.serialNumber))?.acknowledgedSequence).toBe(1);
  });
});

describe("GET /v1/revocations", () => {
  test("whoever follows `sequence` sees each revocation once, in order", async () => {
    const empty = revocationPage.strict().parse((await app.call("GET", "/v1/revocations")).json);
    const { feedEpoch } = app.ca;
    expect(empty).toEqual({ revocations: [], sequence: 0, more: false, feedEpoch, renew: [] });
    const revoked = [await revokeOne(), await revokeOne(), await revokeOne()];
    const seen: string[] = [];
    let page: RevocationPage = { ...empty, more: true };
    while (page.more) {
      page = revocationPage
        .strict()
        .parse((await app.call("GET", `/v1/revocations?after=${page.sequence}&limit=2`)).json);
      seen.push(...page.revocations.map(({ serialNumber }) => serialNumber));
    }
    expect(seen).toEqual(revoked);
    const after = await app.call("GET", `/v1/revocations?after=${page.sequence}`);
    expect(after.json).toEqual({ revocations: [], sequence: page.sequence, more: false, feedEpoch, renew: [] });
  });

  test("an unchanged feed costs 304, a changed one does not", async () => {
    const first = await app.call("GET", "/v1/revocations");
    const etag = first.headers.get("etag") ?? "";
    const held = await app.call("GET", "/v1/revocations", { headers: { "if-none-match": `"other", W/${etag}` } });
    expect([held.status, held.text, held.headers.get("etag")]).toEqual([304, "", etag]);
    await revokeOne();
    expect((await app.call("GET", "/v1/revocations", { headers: { "if-none-match": etag } })).status).toBe(200);
  });

  test("whoever is ahead of the feed is told where it ends, and so that the CA came back from a backup", async () => {
    const { sequence } = revocationPage.parse((await app.call("GET", "/v1/revocations")).json);
    const ahead = await app.call("GET", `/v1/revocations?after=${sequence + 1000}`);
    expect(ahead.json).toMatchObject({ revocations: [], sequence, more: false });
  });

  test("it says to renew for as long as that holds, and changes when that is said", async () => {
    const before = await app.call("GET", "/v1/revocations");
    const notice = { authorityId: "ab".repeat(20), windowSeconds: 60 };
    const announce = { body: JSON.stringify(notice), expiresAtMs: app.clock.nowMs + 60_000 };
    await app.store.commit({ kind: "record", entries: ["{}"], announce });
    const said = await app.call("GET", "/v1/revocations", { headers: { "if-none-match": before.headers.get("etag") ?? "" } });
    expect([said.status, said.json["renew"]]).toEqual([200, [notice]]);
    app.clock.nowMs += 60_000;
    expect((await app.call("GET", "/v1/revocations")).json["renew"]).toEqual([]);
  });

  test.for(["after=-1", "after=1.5", "after=99999999999999999", "limit=1001"])("?%s is refused", async (query) => {
    expect((await app.call("GET", `/v1/revocations?${query}`)).problem.code).toBe("invalid_request");
  });
});

describe("GET /v1/watch", () => {
  test("is a stream of events that nothing in between may keep, resumed by Last-Event-ID", async () => {
    const serialNumber = await revokeOne();
    const response = await app.app.request("/v1/watch");
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    expect(response.headers.get("cache-control")).toBe("no-store, no-transform");
    expect(response.headers.get("x-accel-buffering")).toBe("no");
    const first = eventReader(response.body!);
    const { id = "", data } = await first.until("revocation");
    expect(JSON.stringify(data)).toContain(serialNumber);
    await first.cancel();
    const second = eventReader((await app.app.request("/v1/watch", { headers: { "last-event-id": id } })).body!);
    expect((await second.next()).event).toBe("epoch");
    expect((await second.next()).data).toMatchObject({ revocations: [], more: false });
    await second.cancel();
  });

  test("HEAD opens no stream", async () => {
    expect((await app.call("HEAD", "/v1/watch")).status).toBe(200);
    expect(await app.ca.metrics.registry.getSingleMetricAsString("countersign_watchers")).toMatch(/^countersign_watchers 0$/m);
  });
});

describe("GET /v1/bundle", () => {
  test("FE-07, FE-08: is a SPIFFE bundle of the root for whoever asks, and the same as PEM", async () => {
    const jwks = await app.call("GET", "/v1/bundle");
    expect(jwks.headers.get("content-type")).toBe("application/json");
    expect(jwks.headers.get("countersign-feed-epoch")).toBe(app.ca.feedEpoch);
    const bundle = parseBundle("east", jwks.text);
    const pem = await app.call("GET", "/v1/bundle", { headers: { accept: "application/x-pem-file" } });
    expect(pem.headers.get("content-type")).toBe("application/x-pem-file");
    const roots = decodePem(pem.text, "CERTIFICATE").map((der) => parseCertificate(der).fingerprint);
    expect(roots).toEqual(bundle.x509Authorities.map(({ fingerprint }) => fingerprint));
  });

  test("an unchanged bundle costs 304, each representation for itself", async () => {
    const jwks = await app.call("GET", "/v1/bundle");
    const pem = await app.call("GET", "/v1/bundle", { headers: { accept: "application/x-pem-file" } });
    const etag = jwks.headers.get("etag") ?? "";
    expect(pem.headers.get("etag")).not.toBe(etag);
    expect(jwks.headers.get("vary")).toBe("accept");
    expect((await app.call("GET", "/v1/bundle", { headers: { "if-none-match": etag } })).status).toBe(304);
    expect(
      (await app.call("GET", "/v1/bundle", { headers: { "if-none-match": etag, accept: "application/x-pem-file" } }))
        .status,
    ).toBe(200);
    expect((await app.call("GET", "/v1/bundle", { headers: { "if-none-match": "*" } })).status).toBe(304);
  });

  test.for([["*/*"], ["application/json"], ["text/html, application/json;q=0.9"], ["application/x-pem-files"]])(
    "Accept: %s gets JSON",
    async ([accept = ""]) => {
      expect((await app.call("GET", "/v1/bundle", { headers: { accept } })).headers.get("content-type")).toBe(
        "application/json",
      );
    },
  );

  test.for([["application/x-pem-file;q=1, */*"], ["application/pem-certificate-chain"], ["Application/X-PEM-File"]])(
    "Accept: %s gets PEM",
    async ([accept = ""]) => {
      expect((await app.call("GET", "/v1/bundle", { headers: { accept } })).headers.get("content-type")).toBe(
        "application/x-pem-file",
      );
    },
  );
});

test("GET /v1/authorities lists root and issuer, and no key", async () => {
  const answer = await app.call("GET", "/v1/authorities", { as: "auditor" });
  const { authorities } = authorityList.strict().parse(answer.json);
  expect(authorities.map(({ type }) => type).sort()).toEqual(["issuer", "root"]);
  expect(answer.text).not.toContain("PRIVATE");
});

describe("the audit log", () => {
  test("entries come with the bytes that were hashed", async () => {
    const { entries }: AuditEntryPage = auditEntryPage
      .strict()
      .parse((await app.call("GET", "/v1/audit/entries?start=1&limit=2", { as: "auditor" })).json);
    expect(entries.map(({ index }) => index)).toEqual([1, 2]);
    for (const { body, leafHash } of entries) expect(Buffer.from(hashLeaf(body)).toString("base64")).toBe(leafHash);
  });

  test("the checkpoint is a signed note over all of it", async () => {
    const answer = await app.call("GET", "/v1/audit/checkpoint");
    expect(answer.headers.get("content-type")).toMatch(/^text\/plain/);
    expect(answer.text).toBe((await app.store.checkpoint())?.note);
  });

  test("an inclusion proof leads from an entry to the checkpoint's root", async () => {
    const { note = "" } = (await app.store.checkpoint()) ?? {};
    const [, size = "", root = ""] = note.split("\n");
    const proof: InclusionProof = inclusionProof
      .strict()
      .parse((await app.call("GET", "/v1/audit/proof?index=2")).json);
    expect(proof).toMatchObject({ index: 2, size: Number(size) });
    const [entry] = await app.store.entries({ start: 2, limit: 1 });
    expect(climb(hashLeaf(entry!.body), proof)).toBe(root);
  });

  test("a consistency proof is there for each smaller size", async () => {
    const proof: ConsistencyProof = consistencyProof
      .strict()
      .parse((await app.call("GET", "/v1/audit/proof?oldSize=3&size=5")).json);
    expect(proof).toMatchObject({ oldSize: 3, size: 5 });
    expect(proof.hashes.length).toBeGreaterThan(0);
    expect((await app.call("GET", "/v1/audit/proof?oldSize=5&size=5")).json["hashes"]).toEqual([]);
  });

  test.for([
    "",
    "index=1&oldSize=1",
    "size=3",
    "index=99999",
    "index=3&size=3",
    "oldSize=4&size=3",
    "index=0&size=9999999",
    "oldSize=9999999",
    "index=-1",
    "index=x",
  ])("a proof of ?%s is refused", async (query) => {
    const answer = await app.call("GET", `/v1/audit/proof?${query}`);
    expect([answer.status, answer.problem.code]).toEqual([400, "invalid_request"]);
  });
});

/** RFC 9162 2.1.3.2, written for this test. */
function climb(leaf: Uint8Array, { index, size, hashes }: InclusionProof): string {
  let [node, fn, sn] = [leaf, index, size - 1];
  for (const text of hashes) {
    const sibling = Buffer.from(text, "base64");
    const left = fn % 2 === 1 || fn === sn;
    node = hash("sha256", Buffer.concat([Buffer.from([1]), ...(left ? [sibling, node] : [node, sibling])]), "buffer");
    while (left && fn % 2 === 0 && fn !== 0) [fn, sn] = [fn / 2, Math.floor(sn / 2)];
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return Buffer.from(node).toString("base64");
}
