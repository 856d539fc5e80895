import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openPublishPlace } from "../../../ca/publishing/place.ts";
import { startObjectServer, type ObjectServer } from "../../support/object-server.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-place-"));
let server: ObjectServer;
beforeAll(async () => void (server = await startObjectServer()));
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

const open = (where: string) => openPublishPlace(where, { env: server.env, endpoint: server.endpoint, now: () => new Date() });
const text = { type: "text/plain" };

test("what is put in a folder or a bucket is there under its name, in place of the one before", async () => {
  for (const where of [folder, "s3://hub/fleet"]) {
    for (const body of ["first", "second"]) await open(where).put("crl/west.json", body, text);
  }
  expect(readFileSync(join(folder, "crl/west.json"), "utf8")).toBe("second");
  expect(server.objects.get("hub/fleet/crl/west.json")?.body.toString()).toBe("second");
});

test.each(["../west.json", "/west.json", "a//b", ".hidden", "a/../b", ""])("a name %j, which leads elsewhere, is refused in both", async (name) => {
  for (const where of [folder, "s3://hub"]) await expect(open(where).put(name, "", text)).rejects.toMatchObject({ code: "bucket_url_refused" });
});

test("a folder that cannot be written to is named", async () => {
  await expect(open("/proc/nowhere").put("west.json", "", text)).rejects.toMatchObject({ code: "bucket_refused", message: "cannot write to the folder /proc/nowhere (ENOENT); make it, and let this user write there" });
});
