import { generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Metadata, status, type ClientReadableStream, type ServiceError } from "@grpc/grpc-js";
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodeJwtSvid, type JwtSvidContent } from "../../../ca/pki/jwt-svid.ts";
import { CaError } from "../../../proxy/ca-error.ts";
import { systemClock } from "../../../proxy/clock.ts";
import type { IdentityHolder } from "../../../proxy/identity/source.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { startWorkload } from "../../../proxy/workload/start.ts";
import { east, eastIdentity, holderOf, metricValue } from "../../support/data-path.ts";
import { recordedLog } from "../../support/recorded-log.ts";
import { testAuthority } from "../../support/test-ca.ts";
import { workloadClient } from "../../support/workload-client.ts";

const keys = { one: generateKeyPairSync("ec", { namedCurve: "P-256" }), two: generateKeyPairSync("ec", { namedCurve: "P-256" }) };
const west = testAuthority({ trustDomain: "west" });
const nowS = () => Math.floor(Date.now() / 1000);

/** A token as the CA makes it. */
function tokenOf({ keyId = "one", spiffeId = "spiffe://east/web", audience = ["db"], lifetimeS = 300, jwtId = "x".repeat(22) }: Partial<JwtSvidContent> & { lifetimeS?: number } = {}): string {
  const input = encodeJwtSvid({ keyId, spiffeId, audience, issuedAt: nowS(), expiresAt: nowS() + lifetimeS, jwtId });
  const { privateKey } = keys[keyId as keyof typeof keys];
  return `${input}.${sign("sha256", Buffer.from(input), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

let path: string;
const closing: (() => unknown)[] = [];
beforeEach(() => {
  const folder = mkdtempSync(join(tmpdir(), "countersign-jwt-"));
  path = join(folder, "w.sock");
  closing.push(() => rmSync(folder, { recursive: true, force: true }));
});
afterEach(() => {
  for (const close of closing.splice(0).reverse()) close();
});

function publish(holder: IdentityHolder, ...names: (keyof typeof keys)[]): void {
  const jwtAuthorities = names.map((keyId) => ({ keyId, publicKey: keys[keyId].publicKey }));
  holder.setBundles("east", new Map([["east", { ...east.bundle(), jwtAuthorities }], ["west", west.bundle()]]));
}

async function serve(issue: (audience: readonly string[]) => Promise<string> = async (audience) => tokenOf({ audience })) {
  const holder = holderOf(eastIdentity("web"), [east, west]);
  publish(holder, "one");
  const metrics = createMetrics();
  const log = recordedLog();
  const asked: (readonly string[])[] = [];
  const issueJwtSvid = (audience: readonly string[]): Promise<string> => {
    asked.push(audience);
    return issue(audience);
  };
  closing.push(await startWorkload({ config: { files: undefined, workloadApi: { path, mode: 0o600 } }, source: holder, clock: systemClock, log, metrics, issueJwtSvid }));
  return { holder, metrics, asked, log };
}

interface Answered { readonly error: ServiceError | null; readonly value: Record<string, unknown> }
function call(method: string, request: object): Promise<Answered> {
  const client = workloadClient(path);
  closing.push(() => client.close());
  return new Promise((resolve) => void client[method]!(request, metadata(), (error: ServiceError | null, value: Record<string, unknown>) => resolve({ error, value })));
}
function metadata(): Metadata {
  const made = new Metadata();
  made.set("workload.spiffe.io", "true");
  return made;
}
const fetchSvid = (audience: readonly string[] = ["db"], spiffe_id = "") => call("FetchJWTSVID", { audience, spiffe_id });
const svidOf = ({ value }: Answered) => (value["svids"] as { spiffe_id: string; svid: string }[])[0]!;
const validate = (svid: string, audience = "db") => call("ValidateJWTSVID", { audience, svid });

describe("FetchJWTSVID", () => {
  test("gives a gRPC client a token of the proxy's identity, asked of the CA once while it is young", async () => {
    const { asked, metrics } = await serve();
    const { spiffe_id, svid } = svidOf(await fetchSvid());
    expect(spiffe_id).toBe("spiffe://east/web");
    expect(svid.split(".")).toHaveLength(3);
    expect(svidOf(await fetchSvid(["db"], "spiffe://east/web")).svid).toBe(svid);
    expect(svidOf(await fetchSvid(["other"])).svid).not.toBe(svid);
    expect(asked).toEqual([["db"], ["other"]]);
    expect(metricValue(metrics, "workload_api_calls_total", "FetchJWTSVID", 'status="0"')).toBe(3);
    expect(metrics.text()).not.toContain(svid.split(".")[1]);
  });

  test.each([
    ["without an audience", [], "", status.INVALID_ARGUMENT],
    ["with an empty audience", [""], "", status.INVALID_ARGUMENT],
    ["with an audience that has a line break", ["a\nb"], "", status.INVALID_ARGUMENT],
    ["with an audience twice", ["a", "a"], "", status.INVALID_ARGUMENT],
    ["with nine audiences", [..."abcdefghi"], "", status.INVALID_ARGUMENT],
    ["for another identity", ["db"], "spiffe://east/admin", status.PERMISSION_DENIED],
  ])("is refused %s, and nobody is asked", async (_what, audience, spiffeId, code) => {
    const { asked } = await serve();
    expect((await fetchSvid(audience, spiffeId)).error?.code).toBe(code);
    expect(asked).toEqual([]);
  });

  test.each([
    ["is not there yet", (holder: IdentityHolder) => holder.setRevoked(undefined), status.UNAVAILABLE],
    ["is revoked", (holder: IdentityHolder) => holder.setRevoked(new Set([holder.identity()!.serialNumber])), status.PERMISSION_DENIED],
    ["has expired", (holder: IdentityHolder) => holder.setIdentity(undefined), status.PERMISSION_DENIED],
  ])("is refused while the identity %s", async (_why, lose, code) => {
    const { holder, asked } = await serve();
    await fetchSvid();
    lose(holder);
    expect((await fetchSvid()).error?.code).toBe(code);
    expect(asked).toHaveLength(1);
  });

  test.each([
    ["that does not answer", new CaError("ca_unreachable", "it is away"), status.UNAVAILABLE, "no token from the CA: it is away"],
    ["that has seen the request before", new CaError("ca_refused", "it is good once", { problemCode: "proof_refused" }), status.UNAVAILABLE, "no token from the CA: it is good once"],
    ["that refuses", new CaError("ca_refused", "no 100% \n refusal", { problemCode: "forbidden" }), status.PERMISSION_DENIED, "no token from the CA: no 100  refusal"],
  ])("says so of a CA %s", async (_what, error, code, details) => {
    await serve(() => Promise.reject(error));
    expect((await fetchSvid()).error).toMatchObject({ code, details: expect.stringMatching(details.replace(/\s+/g, "\\s+")) });
  });

  test.each([
    ["of another identity", () => tokenOf({ spiffeId: "spiffe://east/other" })],
    ["for another audience", () => tokenOf({ audience: ["x"] })],
    ["that has expired", () => tokenOf({ lifetimeS: -100 })],
    ["that is none", () => "token"],
  ])("gives nobody a token %s that the CA sent", async (_what, token) => {
    await serve(async () => token());
    expect((await fetchSvid()).error?.code).toBe(status.UNAVAILABLE);
  });

  test("waits for a key that is on its way", async () => {
    const { holder, asked } = await serve(async () => tokenOf({ keyId: "two" }));
    const answer = fetchSvid();
    while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
    publish(holder, "one", "two");
    expect(svidOf(await answer).spiffe_id).toBe("spiffe://east/web");
  });

  test("asks once for many at once", async () => {
    const { asked } = await serve();
    const answers = await Promise.all(Array.from({ length: 20 }, () => fetchSvid()));
    expect(new Set(answers.map((answer) => svidOf(answer).svid)).size).toBe(1);
    expect(asked).toHaveLength(1);
  });

  test("gives no token any more whose key has left the bundle", async () => {
    let keyId: keyof typeof keys = "one";
    const { holder, asked } = await serve(async (audience) => tokenOf({ audience, keyId }));
    const before = svidOf(await fetchSvid()).svid;
    publish(holder, "one", "two");
    expect(svidOf(await fetchSvid()).svid).toBe(before);
    keyId = "two";
    publish(holder, "two");
    expect(svidOf(await fetchSvid()).svid).not.toBe(before);
    expect(asked).toHaveLength(2);
  });
});

describe("FetchJWTBundles", () => {
  test("streams the keys of each trust domain, and theirs alone; jose verifies tokens by them", async () => {
    const { holder } = await serve();
    const client = workloadClient(path);
    closing.push(() => client.close());
    const stream = client["FetchJWTBundles"]!({}, metadata()) as ClientReadableStream<{ bundles: Record<string, Buffer> }>;
    stream.on("error", () => undefined);
    const next = async () => ((await once(stream, "data"))[0] as { bundles: Record<string, Buffer> }).bundles;
    const first = await next();
    expect(Object.keys(first)).toEqual(["spiffe://east", "spiffe://west"]);
    expect(JSON.parse(String(first["spiffe://west"]))).toEqual({ keys: [] });
    const set = JSON.parse(String(first["spiffe://east"])) as JSONWebKeySet;
    expect(set.keys.map(({ kid, use, x5c }) => [kid, use, x5c])).toEqual([["one", "jwt-svid", undefined]]);
    const { payload } = await jwtVerify(tokenOf(), createLocalJWKSet({ keys: set.keys.map(({ use: _, ...jwk }) => jwk) }), { audience: "db" });
    expect(payload.sub).toBe("spiffe://east/web");
    const told = next();
    holder.setIdentity(undefined); // whoever only verifies needs none
    publish(holder, "one", "two");
    expect((JSON.parse(String((await told)["spiffe://east"])) as JSONWebKeySet).keys.map(({ kid }) => kid)).toEqual(["one", "two"]);
    stream.cancel();
  });
});

describe("ValidateJWTSVID", () => {
  test("tells whose token it is, and every claim", async () => {
    await serve();
    const input = [{ alg: "ES256", kid: "one" }, { sub: "spiffe://east/web", aud: ["db", "x"], exp: nowS() + 60.5, extra: { deep: [1, -2.5, null, true, { a: "ä" }], none: {} } }]
      .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    const token = `${input}.${sign("sha256", Buffer.from(input), { key: keys.one.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
    const { value } = await validate(token);
    expect(value["spiffe_id"]).toBe("spiffe://east/web");
    expect(plain({ kind: "structValue", structValue: value["claims"] as object })).toEqual({
      sub: "spiffe://east/web", aud: ["db", "x"], exp: expect.any(Number), extra: { deep: [1, -2.5, null, true, { a: "ä" }], none: {} },
    });
  });

  test.each([
    ["for another audience", () => tokenOf(), "other"],
    ["that has expired", () => tokenOf({ lifetimeS: -60 }), "db"],
    ["by a key that is not in the bundle", () => tokenOf({ keyId: "two" }), "db"],
    ["of a trust domain whose bundle has no such key", () => tokenOf({ spiffeId: "spiffe://west/web" }), "db"],
    ["of a trust domain that is not known", () => tokenOf({ spiffeId: "spiffe://north/web" }), "db"],
    ["that is none", () => "a.b.c", "db"],
    ["that is empty", () => "", "db"],
    ["without saying for whom", () => tokenOf(), ""],
  ])("refuses a token %s", async (_what, token, audience) => {
    await serve();
    expect((await validate(token(), audience)).error?.code).toBe(status.INVALID_ARGUMENT);
  });

  describe("of a token of another trust domain, by that one's bundle,", () => {
    /** Both have a key, by the same name: each vouches for its own alone. */
    const federate = (holder: IdentityHolder): void => {
      const jwtOf = (of: keyof typeof keys) => [{ keyId: "same", publicKey: keys[of].publicKey }];
      holder.setBundles("east", new Map([["east", { ...east.bundle(), jwtAuthorities: jwtOf("one") }], ["west", { ...west.bundle(), jwtAuthorities: jwtOf("two") }]]));
    };
    const signedBy = (key: keyof typeof keys, spiffeId: string, audience: string[] = ["spiffe://east/db"]): string => {
      const input = encodeJwtSvid({ keyId: "same", spiffeId, audience, issuedAt: nowS(), expiresAt: nowS() + 300, jwtId: "x".repeat(22) });
      return `${input}.${sign("sha256", Buffer.from(input), { key: keys[key].privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
    };

    test("tells whose it is", async () => {
      const { holder } = await serve();
      federate(holder);
      const { error, value } = await validate(signedBy("two", "spiffe://west/ns/shop/sa/cart"), "spiffe://east/db");
      expect([error, value["spiffe_id"]]).toEqual([null, "spiffe://west/ns/shop/sa/cart"]);
    });

    test.each([
      ["that our own key signed", () => signedBy("one", "spiffe://west/cart")],
      ["that its key signed for ours", () => signedBy("two", "spiffe://east/web")],
      ["of one that begins alike", () => signedBy("two", "spiffe://west.example/cart")],
      ["for somebody else", () => signedBy("two", "spiffe://west/cart", ["spiffe://west/db"])],
    ])("refuses one %s", async (_what, token) => {
      const { holder } = await serve();
      federate(holder);
      expect((await validate(token(), "spiffe://east/db")).error?.code).toBe(status.INVALID_ARGUMENT);
    });

    test("refuses one whose trust domain was left, from then on", async () => {
      const { holder } = await serve();
      federate(holder);
      const token = signedBy("two", "spiffe://west/cart");
      expect((await validate(token, "spiffe://east/db")).error).toBeNull();
      publish(holder, "one");
      expect((await validate(token, "spiffe://east/db")).error?.code).toBe(status.INVALID_ARGUMENT);
    });
  });

  test("is unavailable while it is not known whom to trust", async () => {
    const { holder } = await serve();
    holder.setRevoked(undefined);
    expect((await validate(tokenOf())).error?.code).toBe(status.UNAVAILABLE);
  });
});

interface Value {
  readonly kind?: "nullValue" | "numberValue" | "stringValue" | "boolValue" | "structValue" | "listValue";
  readonly numberValue?: number;
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly structValue?: { readonly fields?: Readonly<Record<string, Value>> };
  readonly listValue?: { readonly values?: readonly Value[] };
}

/** A google.protobuf.Value as the JSON it stands for. */
function plain({ kind, structValue, listValue, numberValue, stringValue, boolValue }: Value): unknown {
  if (kind === "structValue") return Object.fromEntries(Object.entries(structValue?.fields ?? {}).map(([name, one]) => [name, plain(one)]));
  if (kind === "listValue") return (listValue?.values ?? []).map(plain);
  return kind === "nullValue" ? null : { numberValue, stringValue, boolValue }[kind!];
}
