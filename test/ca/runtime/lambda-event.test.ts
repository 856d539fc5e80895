import { describe, expect, test } from "vitest";
import { parseFrontEndEvent, type FrontEndRequest } from "../../../ca/runtime/lambda-event.ts";
import { frontEnds } from "../../support/lambda-events.ts";

const asked = {
  method: "POST", path: "/v1/certificates", query: "q=a%2Fb&q=c%20d&name=spiffe%3A%2F%2Feast%2Fweb",
  headers: { "content-type": "application/json", authorization: "Bearer x", cookie: "one=1; two=2", "content-length": "3", "transfer-encoding": "chunked" },
  body: '{"csr":"ä"}',
};

describe.each(Object.entries(frontEnds))("an event of %s", (name, event) => {
  const isLoadBalancer = name.startsWith("an ALB");

  test("is the request that was sent", async () => {
    const { request } = parsed(event(asked));
    const url = new URL(request.url);
    expect(request.method).toBe("POST");
    expect(url.pathname).toBe("/v1/certificates");
    // An ALB's single values leave the first of two out.
    const everyValue = name === "an ALB" ? ["c d"] : ["a/b", "c d"];
    expect(url.searchParams.getAll("q")).toEqual(everyValue);
    expect(url.search).toContain("name=spiffe%3A%2F%2Feast%2Fweb");
    expect(request.headers.get("authorization")).toBe("Bearer x");
    expect(request.headers.get("cookie")).toBe("one=1; two=2");
    expect(await request.text()).toBe(asked.body);
  });

  test("has the length of its body, whatever its headers say", () => {
    const { request } = parsed(event(asked));
    expect(request.headers.get("content-length")).toBe(String(Buffer.byteLength(asked.body)));
    expect(request.headers.get("transfer-encoding")).toBeNull();
  });

  test("may have its body in base64", async () => {
    expect(await parsed(event({ ...asked, base64: true })).request.text()).toBe(asked.body);
  });

  test("without a body or a query is a request without them", () => {
    for (const method of ["GET", "HEAD"]) {
      const { request } = parsed(event({ method, path: "/healthz" }));
      expect([request.method, request.body, new URL(request.url).search]).toEqual([method, null, ""]);
    }
  });

  test("takes no path for a host", () => {
    expect(new URL(parsed(event({ method: "GET", path: "//evil.example/v1" })).request.url).host).toBe("lambda.invalid");
  });

  test(isLoadBalancer ? "tells no address: only a header would" : "tells the client's address by itself, whatever a header says", () => {
    const { clientIp } = parsed(event({ ...asked, headers: { "x-forwarded-for": "10.0.0.1" } }));
    expect(clientIp).toBe(isLoadBalancer ? undefined : "205.255.255.176");
  });

  test("hands on nothing of the client's certificate", () => {
    const { request, ...rest } = parsed(event(asked));
    expect(JSON.stringify(rest)).not.toContain("CERTIFICATE");
    expect([...request.headers.keys()].filter((header) => header.includes("cert"))).toEqual([]);
  });

  test("is answered in its own shape", () => {
    const answer = parsed(event(asked)).answer(
      new Response(null, { status: 201, headers: [["content-type", "application/json"], ["etag", '"x"'], ["set-cookie", "a=1"], ["set-cookie", "b=2"]] }), Buffer.from("{}"));
    const single = { "content-type": "application/json", etag: '"x"' };
    const several = { "content-type": ["application/json"], etag: ['"x"'], "set-cookie": ["a=1", "b=2"] };
    const common = { statusCode: 201, body: "{}", isBase64Encoded: false };
    expect(answer).toEqual({
      "a Function URL": { ...common, headers: single, cookies: ["a=1", "b=2"] },
      "API Gateway, payload 2.0": { ...common, headers: single, cookies: ["a=1", "b=2"] },
      "API Gateway, payload 1.0": { ...common, multiValueHeaders: several },
      "an ALB": { ...common, statusDescription: "201 Created", headers: { ...single, "set-cookie": "a=1" } },
      "an ALB with multi-value headers": { ...common, statusDescription: "201 Created", multiValueHeaders: several },
    }[name]);
  });

  test("is answered in base64 where the answer is no text", () => {
    const der = Buffer.from([0x30, 0x82, 0xff, 0x00]);
    const answer = parsed(event(asked)).answer(new Response(null, { headers: { "content-type": "application/pkix-crl" } }), der);
    expect(answer).toMatchObject({ isBase64Encoded: true, body: der.toString("base64") });
  });
});

test.each([undefined, null, "text", 7, {}, { countersign: "maintenance" }, { source: "aws.events" }, { requestContext: {} }, { requestContext: null }])(
  "%j is no event of a front end", (event) => {
    expect(parseFrontEndEvent(event)).toBeUndefined();
  });

function parsed(event: object): FrontEndRequest {
  const found = parseFrontEndEvent(event);
  if (found === undefined) throw new Error("not read");
  return found;
}
