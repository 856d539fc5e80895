import { describe, expect, test } from "vitest";
import { readJson } from "../../../ca/http/body.ts";

const url = "http://localhost/";
const json = { "content-type": "application/json" };

async function codeOf(request: Request, limitBytes = 100): Promise<string> {
  return readJson(request, limitBytes).then(
    () => "read",
    (error: { code: string }) => error.code,
  );
}

describe("a body", () => {
  test("up to the limit is read, one byte more is refused", async () => {
    const body = (length: number) =>
      new Request(url, { method: "POST", headers: json, body: `"${"x".repeat(length - 2)}"` });
    expect(await codeOf(body(100))).toBe("read");
    expect(await codeOf(body(101))).toBe("body_too_large");
  });

  test("whose announced length is above the limit is refused unread", async () => {
    const request = new Request(url, { method: "POST", headers: { ...json, "content-length": "101" }, body: "{}" });
    expect(await codeOf(request)).toBe("body_too_large");
    expect(request.bodyUsed).toBe(false);
  });

  test("of no announced length is counted, and no more of it is taken than needed to see it is too large", async () => {
    let pulled = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        pulled += 1;
        controller.enqueue(new Uint8Array(40));
      },
    });
    expect(
      await codeOf(new Request(url, { method: "POST", headers: json, body: endless, duplex: "half" } as RequestInit)),
    ).toBe("body_too_large");
    expect(pulled).toBeLessThan(6);
  });

  test("that announces a length and comes in chunks all the same is counted", async () => {
    const endless = new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(new Uint8Array(40)) });
    const headers = { ...json, "content-length": "2", "transfer-encoding": "chunked" };
    const request = {
      headers: new Headers(headers),
      body: endless,
      text: () => Promise.resolve("{}"),
    } as unknown as Request;
    expect(await codeOf(request)).toBe("body_too_large");
  });

  test("that breaks off is a request that did not arrive", async () => {
    const broken = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new Error("reset")) });
    expect(
      await codeOf(new Request(url, { method: "POST", headers: json, body: broken, duplex: "half" } as RequestInit)),
    ).toBe("request_timeout");
  });

  test.for(["{", "", "nul", "{'a':1}", '{"token":"secret', "[1,]"])(
    "that is not JSON (%s) is refused without being quoted",
    async (body) => {
      const error = await readJson(new Request(url, { method: "POST", headers: json, body }), 100).catch(
        (caught: Error) => caught,
      );
      expect(error).toMatchObject({ code: "invalid_request" });
      expect((error as Error).message).not.toContain("secret");
    },
  );

  test.for([
    undefined,
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=a",
    "application/jsonp",
    "application/json-seq",
    "",
  ])("of type %s is refused, so that no form of another site can send one", async (type) => {
    const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
    const request = new Request(url, { method: "POST", headers, body: new Uint8Array([0x7b, 0x7d]) });
    expect(await codeOf(request)).toBe("media_type_unsupported");
  });

  test.for([
    "application/json",
    "application/json; charset=utf-8",
    "Application/JSON",
    "application/json;charset=utf-8",
  ])("of type %s is read", async (type) => {
    expect(await codeOf(new Request(url, { method: "POST", headers: { "content-type": type }, body: "{}" }))).toBe(
      "read",
    );
  });
});
