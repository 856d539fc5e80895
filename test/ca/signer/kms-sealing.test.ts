import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openKms, type Kms } from "../../../ca/signer/kms.ts";
import { kmsKeyOf, unwrapSealingKey, wrapNewSealingKey } from "../../../ca/signer/kms-sealing.ts";
import { startKmsServer, type KmsServer } from "../../support/kms-server.ts";

describe("a sealing key that KMS wraps", () => {
  let server: KmsServer;
  let kms: Kms;
  beforeAll(async () => {
    server = await startKmsServer();
    Object.assign(process.env, server.env);
    kms = openKms({ endpoint: server.endpoint, limits: { attempts: 1, attemptsWhenUnknown: 1 } });
  });
  afterAll(async () => {
    kms.close();
    await server.close();
  });
  const secret = Buffer.from("a private key");

  test("opens what it sealed after a restart, and by no file", async () => {
    const { arn } = server.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    const { sealing, wrapped } = await wrapNewSealingKey(kms, arn, "east");
    expect(kmsKeyOf(wrapped)).toBe(arn);
    const again = await unwrapSealingKey(kms, wrapped, "east");
    expect(Buffer.from(again.unseal("log key", sealing.seal("log key", secret)))).toEqual(secret);
  });

  test("is not unwrapped for a CA of another trust domain, by another KMS key, or altered", async () => {
    const { arn } = server.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    const { wrapped } = await wrapNewSealingKey(kms, arn, "east");
    await expect(unwrapSealingKey(kms, wrapped, "west")).rejects.toMatchObject({ code: "sealed_data_altered" });
    const other = server.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    await expect(unwrapSealingKey(kms, wrapped.replace(arn, other.arn), "east")).rejects.toMatchObject({ code: "sealed_data_altered" });
    await expect(unwrapSealingKey(kms, "{}", "east")).rejects.toMatchObject({ code: "sealed_format_unknown" });
  });
});
