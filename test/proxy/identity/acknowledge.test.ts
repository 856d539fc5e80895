import { describe, expect, test } from "vitest";
import { acknowledgedText, type AcknowledgeRequest } from "../../../ca/contract/acknowledgements.ts";
import { parseRenewalProof, verifyRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { CaError } from "../../../proxy/ca-error.ts";
import { startAcknowledging } from "../../../proxy/identity/acknowledge.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { eastIdentity } from "../../support/data-path.ts";
import { manualClock } from "../../support/manual-clock.ts";
import { recordedLog } from "../../support/recorded-log.ts";

const [first, second] = [eastIdentity("cart"), eastIdentity("cart")];

function setUp() {
  const clock = manualClock(Date.UTC(2026, 0, 1));
  const asked: AcknowledgeRequest[] = [];
  const held = { feedEpoch: "e", bundleSequence: "1", identity: first };
  const ca: { error: Error | undefined; present: boolean } = { error: undefined, present: true };
  const acknowledging = startAcknowledging({
    clock, random: () => 1, log: recordedLog(), metrics: createMetrics(), trustDomain: "east", held: () => (ca.present ? { ...held } : undefined),
    client: {
      async acknowledge(request) {
        asked.push(request);
        if (ca.error !== undefined) throw ca.error;
      },
    },
  });
  return { clock, asked, held, ca, acknowledging };
}

describe("acknowledging the bundle in force", () => {
  test("is done once, with a proof by the certificate's key that is good for that bundle alone", async () => {
    const { clock, asked, acknowledging } = setUp();
    acknowledging.check();
    await clock.advance(1000);
    acknowledging.check();
    await clock.advance(600_000);
    expect(asked).toHaveLength(1);
    const { proof, ...bundle } = asked[0]!;
    expect(bundle).toEqual({ feedEpoch: "e", bundleSequence: "1" });
    const parsed = parseRenewalProof(proof, "acknowledgement");
    const { publicKey } = parseCertificate(parsed.chain[0]!);
    expect(() => verifyRenewalProof(parsed, publicKey, Buffer.from(acknowledgedText(bundle)), "east")).not.toThrow();
    expect(acknowledging.sequence()).toBe("1");
  });

  test.each([
    ["bundle", { bundleSequence: "2" }], ["feed", { feedEpoch: "restored" }], ["certificate", { identity: second }],
  ])("is done again for another %s", async (_what, change) => {
    const { clock, asked, held, acknowledging } = setUp();
    acknowledging.check();
    await clock.advance(1000);
    Object.assign(held, change);
    acknowledging.check();
    await clock.advance(1000);
    expect(asked).toHaveLength(2);
  });

  test("is not done again for what the CA took down with a renewal", async () => {
    const { clock, asked, held, acknowledging } = setUp();
    acknowledging.heard(first.serialNumber, held);
    acknowledging.check();
    await clock.advance(600_000);
    expect(asked).toEqual([]);
  });

  test("is tried until it is heard, slowly after a definite no, soon where a replica has not heard of the bundle", async () => {
    const { clock, asked, ca, acknowledging } = setUp();
    ca.error = new CaError("ca_refused", "another bundle", { problemCode: "bundle_unknown" });
    acknowledging.check();
    await clock.advance(1000 + 1000 + 2000 + 4000);
    expect(asked).toHaveLength(4);
    ca.error = new CaError("ca_refused", "revoked", { problemCode: "certificate_revoked" });
    await clock.advance(3_600_000);
    expect(asked.length).toBeLessThan(25);
    ca.error = undefined;
    await clock.advance(300_000);
    expect(acknowledging.sequence()).toBe("1");
  });

  test("waits for what is missing, and stops", async () => {
    const { clock, asked, ca, acknowledging } = setUp();
    ca.present = false;
    acknowledging.check();
    await clock.advance(600_000);
    ca.present = true;
    acknowledging.check();
    acknowledging.stop();
    await clock.advance(600_000);
    expect(asked).toEqual([]);
  });
});
