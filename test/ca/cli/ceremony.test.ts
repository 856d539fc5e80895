import { hash, type KeyObject } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeAnswer, type CeremonyAnswer } from "../../../ca/ceremony/answer.ts";
import { holdCeremony } from "../../../ca/ceremony/sign.ts";
import { readConfig } from "../../../ca/config/config.ts";
import { openPrivateKey } from "../../../ca/signer/sealed-key.ts";
import { softwareSigner } from "../../../ca/signer/software.ts";
import { openStore } from "../../../ca/store/open.ts";
import type { Store } from "../../../ca/store/store.ts";
import { encodePem } from "../../../ca/pki/pem.ts";
import { countersign, tooWide } from "../../support/command-line.ts";
import { openssl, opensslAvailable } from "../../support/openssl.ts";
import { auditEvents, chainOf, dayMs, hourMs, newCsr, newKey, startTestCa } from "../../support/running-ca.ts";
import { verifyStore } from "../../support/store-oracle.ts";

const passphrase = "six random words are enough here";

/** A CA whose root's key is offline, and the folder of the machine that holds it. */
function setUp() {
  const folder = mkdtempSync(join(tmpdir(), "countersign-ceremony-"));
  const inFolder = (name: string): string => join(folder, name);
  const env = { COUNTERSIGN_ROOT_KEY: "offline", COUNTERSIGN_TRUST_DOMAIN: "east", COUNTERSIGN_DATA_DIR: inFolder("ca") };
  writeFileSync(inFolder("passphrase"), `${passphrase}\n`, { mode: 0o600 });
  let rootKey: KeyObject | undefined;
  const onCa = (...args: readonly string[]) => countersign(["ceremony", ...args], env);
  return {
    inFolder, onCa, env,
    async request(kind: string, name: string, ...more: readonly string[]): Promise<string> {
      const { stdout, stderr, exitCode } = await onCa("request", kind, "--out", inFolder(name), ...more);
      expect(stderr).toBe("");
      expect(exitCode).toBe(0);
      expect(stdout, "says what is asked for").toMatch(/^ {2}Asked +20/m);
      return /^ {2}([0-9a-f-]{24})$/m.exec(stdout)?.[1] ?? "";
    },
    /** On the other machine: no environment, no database. */
    sign: (request: string, answer: string, fingerprint: string, ...more: readonly string[]) => countersign([
      "ceremony", "sign", inFolder(request), "--key", inFolder("root.key"), "--out", inFolder(answer), "--confirm", fingerprint,
      "--passphrase-file", inFolder("passphrase"), "--operator", "alice", ...more,
    ]),
    /** The same with a key at hand: a passphrase costs half a second of CPU each time. */
    async quickSign(requestName: string, answerName: string, fingerprint: string, privateKey?: KeyObject): Promise<readonly string[]> {
      let shown: readonly string[] = [];
      rootKey ??= await openPrivateKey(readFileSync(inFolder("root.key"), "utf8"), passphrase);
      const signer = softwareSigner(privateKey ?? rootKey);
      const answer = await holdCeremony({
        text: readFileSync(inFolder(requestName), "utf8"), nowMs: Date.now(), operator: "alice", host: "vault",
        confirm: async (lines) => {
          shown = lines;
          return fingerprint;
        },
        openKey: async () => ({ signer, location: "file" }),
      });
      writeFileSync(inFolder(answerName), writeAnswer(answer));
      return shown;
    },
    async withStore<T>(look: (store: Store) => Promise<T>): Promise<T> {
      const store = await openStore({ url: readConfig({ env }).storeUrl, readOnly: true });
      return look(store).finally(() => store.close());
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A ceremony's command at a terminal where somebody types these answers. */
async function atTerminal(env: Readonly<Record<string, string>>, args: readonly string[], answers: readonly string[]) {
  const { dispatch } = await import("../../../ca/cli/dispatch.ts");
  const asked: { readonly question: string; readonly secret: boolean }[] = [];
  let [stdout, stderr] = ["", ""];
  const exitCode = await dispatch(["ceremony", ...args], {
    stdout: (text) => void (stdout += text), stderr: (text) => void (stderr += text), env,
    ask: async (question, { secret = false } = {}) => answers[asked.push({ question, secret }) - 1] ?? "",
  });
  return { exitCode, stdout, stderr, asked };
}

describe("the ceremonies of a CA whose root's key is offline", () => {
  const at = setUp();
  const { inFolder, onCa, request, sign, quickSign, withStore } = at;
  afterAll(at.remove);
  const answerIn = (name: string) => JSON.parse(readFileSync(inFolder(name), "utf8")) as CeremonyAnswer;
  const fingerprintOfRoot = (answer: string) => answerIn(answer).transcript.result.slice(0, 20);
  /** As an answer to another request of the same kind. */
  const pretend = (name: string, answer: string, requestName: string) => {
    const { transcript, ...rest } = answerIn(answer);
    writeFileSync(inFolder(name), writeAnswer({ ...rest, transcript: { ...transcript, request: fileHash(inFolder(requestName)) } }));
  };
  const rowsOf = (type: string) => withStore(async (store) => (await store.authorities()).filter((row) => row.type === type));

  test("the first one makes the root where it signs", async () => {
    const fingerprint = await request("root", "root.request");
    const signed = await sign("root.request", "root.answer", fingerprint, "--create-key", "ec-p384");
    expect(signed).toMatchObject({ exitCode: 0, stderr: "" });
    expect(signed.stdout).toContain("Make a root for the trust domain east");
    expect(signed.stdout).not.toContain(fingerprint);
    expect(statSync(inFolder("root.key")).mode & 0o777).toBe(0o600);
    expect(readFileSync(inFolder("root.key"), "utf8")).not.toContain(passphrase);
    const [, printed = ""] = /^ {2}([0-9a-f-]{24})$/m.exec(signed.stdout) ?? [];
    expect(await onCa("import", inFolder("root.answer"), "--confirm", printed)).toMatchObject({ exitCode: 0, stderr: "" });
    expect(await rowsOf("root")).toMatchObject([{ state: "active", key: { kind: "offline" } }]);
  });

  test("a fingerprint that is not the request's stops it before any key is touched", async () => {
    const fingerprint = await request("intermediate", "wrong.request");
    const mistyped = fingerprint.replace(/.$/, (digit) => (digit === "0" ? "1" : "0"));
    const refused = await sign("wrong.request", "wrong.answer", mistyped, "--passphrase-file", "/nowhere");
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("not the fingerprint of this request") });
    expect(existsSync(inFolder("wrong.answer"))).toBe(false);
  });

  test("an intermediate is certified and taken, with its transcript", async () => {
    const fingerprint = await request("intermediate", "intermediate.request", "--lifetime", "90d");
    const signed = await sign("intermediate.request", "intermediate.answer", fingerprint.toUpperCase().replaceAll("-", " "));
    expect(signed).toMatchObject({ exitCode: 0, stderr: "" });
    expect(signed.stdout).toContain("Certify an intermediate of the trust domain east");
    expect(readFileSync(inFolder("intermediate.answer.transcript.txt"), "utf8")).toMatch(/operator +alice/);
    const wrong = `${fingerprint.startsWith("0") ? "1" : "0"}${fingerprint.slice(1)}`;
    expect(await onCa("import", inFolder("intermediate.answer"), "--confirm", wrong)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("not the fingerprint of the request") });
    expect(await atTerminal(at.env, ["import", inFolder("intermediate.answer")], [wrong])).toMatchObject({ exitCode: 1, asked: [{ question: expect.stringContaining("fingerprint of its request") }] });
    expect(await rowsOf("intermediate")).toEqual([]);
    const taken = await onCa("import", inFolder("intermediate.answer"), "--confirm", fingerprint);
    expect(taken).toMatchObject({ exitCode: 0, stderr: "" });
    expect(taken.stdout).toMatch(/^It is the answer to this request:\s+Certify an intermediate of the trust domain east[^]* is active/);
    const [root] = await rowsOf("root");
    const [intermediate] = await rowsOf("intermediate");
    expect(intermediate).toMatchObject({ state: "active", parentId: root?.id, key: { kind: "sealed" } });
    const answered = await withStore(async (store) => (await auditEvents(store)).filter(({ type }) => type === "ceremony.answered"));
    expect(answered).toMatchObject([{ kind: "root" }, { kind: "intermediate", transcript: { operator: "alice", key: "file", shown: expect.any(Array) } }]);
    await withStore(async (store) => verifyStore(store, (await store.state())!.logVerifierKey));
    expect((await countersign(["audit", "verify"], at.env)).exitCode).toBe(0);
  });

  test.skipIf(!opensslAvailable)("openssl accepts the chain, with an issuer's path length left", async () => {
    const [root] = await rowsOf("root");
    const [intermediate] = await rowsOf("intermediate");
    const files = { "root.pem": encodePem("CERTIFICATE", root!.certificate), "intermediate.pem": encodePem("CERTIFICATE", intermediate!.certificate) };
    expect(openssl(["verify", "-x509_strict", "-check_ss_sig", "-CAfile", "root.pem", "intermediate.pem"], files)).toMatchObject({ ok: true });
    expect(openssl(["x509", "-in", "intermediate.pem", "-noout", "-ext", "basicConstraints"], files).stdout).toContain("pathlen:1");
  });

  test("an answer is taken once", async () => {
    expect(await onCa("import", inFolder("intermediate.answer"))).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/answered or\s+withdrawn/) });
    expect(await rowsOf("intermediate")).toHaveLength(1);
  });

  test("the CA runs on it, takes the next one while it serves, and never asks for the root", async () => {
    const host = await startTestCa({ dataDir: inFolder("ca"), settings: { rootKey: "offline" } });
    try {
      const issue = () => host.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/web" } }, { caller: host.admin });
      const [, , before] = chainOf(await issue());
      expect(before).toEqual((await rowsOf("intermediate"))[0]!.certificate);
      expect(await host.ca.readiness()).toEqual({ ready: true, reasons: [] });
      host.clock.nowMs += 24 * hourMs;
      await host.ca.tick();
      expect(chainOf(await issue())[2]).toEqual(before);
      host.clock.nowMs += 68 * dayMs;
      await host.ca.tick();
      expect((await host.ca.readiness()).warnings).toEqual([expect.stringContaining("countersign ceremony request intermediate")]);

      const { csr } = newCsr();
      const askForIssuer = () => host.ca.issueIssuer({ csr, profile: "istio", trustDomain: "west" }, host.admin, "once");
      const issuer = await askForIssuer();
      expect(chainOf(issuer)[1]).toEqual(before);

      const fingerprint = await request("intermediate", "next.request");
      await quickSign("next.request", "next.answer", fingerprint);
      expect((await onCa("import", inFolder("next.answer"))).stdout).toContain("is prepared");
      for (let looks = 0; looks < 4; looks++) await host.ca.tick();
      const [, , after] = chainOf(await issue());
      expect(after).toEqual((await rowsOf("intermediate")).find(({ state }) => state === "active")!.certificate);
      expect(after).not.toEqual(before);
      expect(await askForIssuer(), "a retry gets the chain of the intermediate that signed").toEqual(issuer);
    } finally {
      await host.close();
    }
  });

  test("a root that whoever carried the answer made is not taken for the one that was made", async () => {
    const fingerprint = await request("root", "stolen.request");
    await quickSign("stolen.request", "made.answer", fingerprint, newKey());
    await quickSign("stolen.request", "stolen.answer", fingerprint, newKey());
    const before = await rowsOf("root");
    const refused = await onCa("import", inFolder("stolen.answer"), "--confirm", fingerprintOfRoot("made.answer"));
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/not the\s+fingerprint\s+of\s+this\s+root/) });
    // Under the name of the one that was made.
    writeFileSync(inFolder("mixed.answer"), writeAnswer({ ...answerIn("made.answer"), result: answerIn("stolen.answer").result }));
    expect(await onCa("import", inFolder("mixed.answer"), "--confirm", fingerprintOfRoot("made.answer"))).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/its\s+transcript\s+is\s+of\s+something\s+else/) });
    expect(await onCa("import", inFolder("stolen.answer"))).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/no\s+terminal\s+to\s+confirm/) });
    expect(await rowsOf("root")).toEqual(before);
    expect((await onCa("withdraw", fingerprint)).exitCode).toBe(0);
  });

  test("the root before vouches for the next one, and both are taken in one", async () => {
    const rootFingerprint = await request("root", "root2.request");
    await quickSign("root2.request", "root2.answer", rootFingerprint, newKey());
    const fingerprint = await request("cross-certificate", "cross.request", "--root", inFolder("root2.answer"));
    expect((await quickSign("cross.request", "cross.answer", fingerprint)).join()).toContain("Let the old root vouch for the new one");
    expect(await onCa("import", inFolder("cross.answer"))).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/together\s+with its root/) });
    const confirm = ["--confirm", fingerprintOfRoot("root2.answer")];
    expect(await onCa("import", inFolder("root2.answer"), ...confirm, "--cross", inFolder("intermediate.answer"))).toMatchObject({ exitCode: 1 });
    const third = await request("root", "root3.request");
    await quickSign("root3.request", "root3.answer", third, newKey());
    const thirdCross = await request("cross-certificate", "cross3.request", "--root", inFolder("root3.answer"));
    await quickSign("cross3.request", "cross3.answer", thirdCross);
    pretend("cross2.answer", "cross3.answer", "cross.request");
    for (const [cross, said] of [["cross3.answer", /not\s+one\s+of\s+this\s+root/], ["cross2.answer", /not\s+the\s+one\s+that\s+was\s+asked/]] as const) {
      expect(await onCa("import", inFolder("root2.answer"), ...confirm, "--cross", inFolder(cross))).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(said) });
    }
    for (const open of [third, thirdCross]) expect((await onCa("withdraw", open)).exitCode).toBe(0);
    expect(await onCa("import", inFolder("root2.answer"), ...confirm, "--cross", inFolder("cross.answer"))).toMatchObject({ exitCode: 0, stderr: "" });
    const [old, next] = await rowsOf("root");
    expect(next).toMatchObject({ state: "prepared", key: { kind: "offline" } });
    if (opensslAvailable) {
      const files = { "old.pem": encodePem("CERTIFICATE", old!.certificate), "cross.pem": encodePem("CERTIFICATE", next!.crossCertificate!) };
      expect(openssl(["verify", "-x509_strict", "-CAfile", "old.pem", "cross.pem"], files)).toMatchObject({ ok: true });
    }
    expect((await onCa("list")).stdout).toMatch(/cross-certificate +closed/);
    expect((await countersign(["audit", "verify"], at.env)).exitCode).toBe(0);
  });

  test("the root's CRL is signed in a ceremony too, and published once", async () => {
    const fingerprint = await request("root-crl", "crl.request");
    expect((await quickSign("crl.request", "crl.answer", fingerprint)).join()).toContain("Revokes  no authority");
    const other = await request("root-crl", "crl2.request");
    await quickSign("crl2.request", "crl2.answer", other);
    pretend("crl3.answer", "crl2.answer", "crl.request");
    expect(await onCa("import", inFolder("crl3.answer"))).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/not\s+the\s+one\s+that\s+was\s+asked/) });
    expect((await onCa("withdraw", other)).exitCode).toBe(0);
    expect(await onCa("import", inFolder("crl.answer"))).toMatchObject({ exitCode: 0, stderr: "" });
    expect((await onCa("import", inFolder("crl.answer"))).exitCode).toBe(1);
    const [root] = await rowsOf("root");
    const { crl } = (await withStore((store) => store.crl(root!.id, "authorities.crl")))!;
    if (opensslAvailable) {
      const files = { "root.pem": encodePem("CERTIFICATE", root!.certificate), "crl.pem": encodePem("X509 CRL", crl!) };
      expect(openssl(["crl", "-in", "crl.pem", "-CAfile", "root.pem", "-noout"], files).stderr).toContain("verify OK");
    }
    expect((await countersign(["audit", "verify"], at.env)).exitCode).toBe(0);
  });

  test("an altered request shows by its fingerprint, and its answer is the answer to nothing", async () => {
    const fingerprint = await request("root", "altered.request");
    const path = inFolder("altered.request");
    writeFileSync(path, readFileSync(path, "utf8").replace(/"lifetimeSeconds": \d+/, '"lifetimeSeconds": 900000000'));
    expect((await sign("altered.request", "altered.answer", fingerprint)).exitCode).toBe(1);
    const its = fileHash(path).slice(0, 20);
    await quickSign("altered.request", "altered.answer", its, newKey());
    expect(await onCa("import", inFolder("altered.answer"), "--confirm", fingerprintOfRoot("altered.answer"))).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("no request of this CA") });
    expect(await rowsOf("root")).toHaveLength(2);
  });

  test("an answer that was altered on its way is refused", async () => {
    const answer = readFileSync(inFolder("altered.answer"), "utf8");
    const open = await withStore(async (store) => (await store.ceremonies({ limit: 9 })).find(({ closedAtMs, request: text }) => closedAtMs === undefined && text.includes('"root"'))!.id);
    const pretending = answer.replace(/"request": "[0-9a-f]+"/, `"request": "${open}"`);
    for (const [name, text] of Object.entries({
      // A root for longer than was asked for, under the open request's name; the same with another fingerprint in the transcript.
      longer: pretending, transcript: pretending.replace(/"result": "[0-9a-f]{64}"/, `"result": "${"0".repeat(64)}"`), cut: answer.slice(0, -20),
    })) {
      writeFileSync(inFolder(name), text);
      const [, its = ""] = /"result": "([0-9a-f]{64})"/.exec(text) ?? [];
      expect(await onCa("import", inFolder(name), "--confirm", its.slice(0, 20))).toMatchObject({ exitCode: 1, stdout: expect.not.stringContaining("is prepared") });
    }
    expect(await rowsOf("root")).toHaveLength(2);
  });

  test("another certificate than was asked for is refused, though the root signed it", async () => {
    const [asked, other] = [await request("intermediate", "asked.request"), await request("intermediate", "unasked.request")];
    await quickSign("unasked.request", "unasked.answer", other);
    expect(fileHash(inFolder("asked.request")).slice(0, 4)).toBe(asked.slice(0, 4));
    pretend("swapped.answer", "unasked.answer", "asked.request");
    expect(await onCa("import", inFolder("swapped.answer"))).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/not\s+the\s+one\s+that\s+was\s+asked/) });
  });

  test("another key than the root's certifies nothing", async () => {
    const fingerprint = await request("intermediate", "other.request");
    await expect(quickSign("other.request", "other.answer", fingerprint, newKey())).rejects.toMatchObject({ code: "key_mismatch" });
    expect(existsSync(inFolder("other.answer"))).toBe(false);
  });

  test("no file is replaced, neither an answer nor a key", async () => {
    const fingerprint = await request("intermediate", "again.request");
    expect(await sign("again.request", "root.answer", fingerprint)).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/exists\s+already/) });
    expect(await sign("again.request", "again.answer", fingerprint, "--create-key", "ec-p256")).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/exists\s+already/) });
    expect((await onCa("request", "root", "--out", inFolder("root.request"))).exitCode).toBe(1);
  });

  test("a wrong passphrase opens nothing and is not repeated", async () => {
    writeFileSync(inFolder("passphrase2"), "not the right one at all", { mode: 0o600 });
    const fingerprint = await request("intermediate", "locked.request");
    const refused = await sign("locked.request", "locked.answer", fingerprint, "--passphrase-file", inFolder("passphrase2"));
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/passphrase does\s+not open/) });
    expect(refused.stderr + refused.stdout).not.toContain("right one");
  });

  test("a request that was withdrawn is answered no more", async () => {
    const fingerprint = await request("intermediate", "withdrawn.request");
    await quickSign("withdrawn.request", "withdrawn.answer", fingerprint);
    expect((await onCa("list")).stdout).toMatch(new RegExp(`intermediate +open .* ${fingerprint}`));
    expect(await onCa("show", fingerprint)).toEqual({ exitCode: 0, stdout: readFileSync(inFolder("withdrawn.request"), "utf8"), stderr: "" });
    expect((await onCa("withdraw", fingerprint)).exitCode).toBe(0);
    expect((await onCa("import", inFolder("withdrawn.answer"))).exitCode).toBe(1);
    expect(await rowsOf("intermediate")).toHaveLength(2);
  });

  test("no secret is in the audit log or in what is carried", async () => {
    const log = JSON.stringify(await withStore(auditEvents));
    for (const text of [log, readFileSync(inFolder("root.answer"), "utf8"), readFileSync(inFolder("root.answer.transcript.txt"), "utf8")]) {
      expect(text).not.toMatch(new RegExp(`${passphrase}|PRIVATE KEY`));
    }
  });
});

function fileHash(path: string): string {
  return hash("sha256", readFileSync(path, "utf8"), "hex");
}

describe("a ceremony at a terminal", () => {
  const at = setUp();
  afterAll(at.remove);
  let fingerprint: string;
  beforeAll(async () => {
    fingerprint = await at.request("root", "root.request");
  });

  const signAsking = (answers: readonly string[], name: string) => atTerminal({}, [
    "sign", at.inFolder("root.request"), "--key", at.inFolder(`${name}.key`), "--create-key", "ec-p256", "--out", at.inFolder(`${name}.answer`),
  ], answers);

  test("asks for the fingerprint after it said what it does, and twice for a new passphrase, which it does not show", async () => {
    const { exitCode, asked } = await signAsking([fingerprint, passphrase, passphrase], "asked");
    expect(exitCode).toBe(0);
    expect(asked.map(({ secret }) => secret)).toEqual([false, true, true]);
  });

  test("stops at a passphrase that is short or mistyped, with no key left behind", async () => {
    expect(await signAsking([fingerprint, "short", "short"], "short")).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("12 characters") });
    expect(await signAsking([fingerprint, passphrase, `${passphrase}!`], "typo")).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("differ") });
    expect(["short.key", "typo.key"].map((name) => existsSync(at.inFolder(name)))).toEqual([false, false]);
  });

  test("says what is missing where there is none", async () => {
    const refused = await countersign(["ceremony", "sign", at.inFolder("root.request"), "--key", at.inFolder("none.key"), "--out", at.inFolder("none.answer")]);
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("--confirm") });
  });
});

test("a CA whose root's key is not offline begins no ceremony by accident", async () => {
  const at = setUp();
  try {
    const refused = await countersign(["ceremony", "request", "root", "--out", at.inFolder("root.request")], { COUNTERSIGN_DATA_DIR: at.inFolder("ca") });
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("COUNTERSIGN_ROOT_KEY=offline") });
  } finally {
    at.remove();
  }
});

test("its help fits a terminal", async () => {
  expect(tooWide((await countersign(["ceremony", "--help"])).stdout)).toEqual([]);
});
