import { describe, expect, test } from "vitest";
import { commandNames } from "../../../ca/cli/dispatch.ts";
import { countersign, tooWide } from "../../support/command-line.ts";

describe("help", () => {
  test("lists every command, on standard output when asked for and with exit code 2 when not", async () => {
    const asked = await countersign(["help"]);
    expect([asked.exitCode, asked.stderr]).toEqual([0, ""]);
    for (const command of commandNames) expect(asked.stdout).toMatch(new RegExp(`^  countersign ${command} +\\w`, "m"));
    expect(tooWide(asked.stdout)).toEqual([]);
    expect(await countersign([])).toMatchObject({ exitCode: 2, stdout: "", stderr: asked.stdout });
  });

  test.for(commandNames)("of %s shows how it is called, the same in each way of asking, in 80 columns", async (command) => {
    const { exitCode, stdout, stderr } = await countersign([command, "--help"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).toContain(`countersign ${command}`);
    expect(tooWide(stdout)).toEqual([]);
    expect((await countersign([command, "-h"])).stdout).toBe(stdout);
    expect((await countersign(["help", command])).stdout).toBe(stdout);
  });
});

test("version names ours and that of Node", async () => {
  for (const word of ["version", "--version"])
    expect((await countersign([word])).stdout).toMatch(/^countersign \d+\.\d+\.\d+, Node\.js \d+/);
});

describe("a wrong command line ends with 2 and says what was probably meant", () => {
  test.for([
    ["sreve", 'did you mean "serve"'],
    ["certifcate", 'did you mean "certificate"'],
    ["nonsense", "lists them"],
    ["__proto__", "there is no command"],
    ["help nonsense", "there is no command"],
    ["token craete", 'did you mean "token create"'],
    ["token destroy", "create, list, delete"],
    ["token create --idd x", "did you mean --id?"],
    ["token create --zzzzzz x", "there is no flag --zzzzzz"],
    ["token create -z", "there is no flag -z"],
    ["token create --id", "--id"],
    ["token create", "--id is missing"],
    ["token create --type", "--type"],
    ["token create --type both --id x", "join or api"],
    ["token create --type api --role admin", "--name is missing"],
    ["token create --type api --name x", "--role is missing"],
    ["token create --type api --name x --role root", "admin, operator, auditor"],
    ["token create --type api --name x --role admin --id y", "--scope"],
    ["token create --id x --role admin", "--type api"],
    ["token create --id x --ttl 60", "a number and a unit"],
    ["token create --id x --ttl 0s", "a number and a unit"],
    ["token list more", "one argument too many"],
    ["token delete", "is missing"],
    ["token list -o yaml", "json or text"],
    ["token list --url http://127.0.0.1:8443", "https"],
    ["clock confirm", "--time is missing"],
    ["clock confirm --time noon", "an instant like"],
    ["operator add", "the SPIFFE ID is missing"],
    ["operator add spiffe://east/a", "--role is missing"],
    ["operator add spiffe://east/a --role root", "admin, operator, auditor"],
    ["operator add spiffe://east/a more --role admin", "one argument too many"],
    ["policy apply", "--file is missing"],
    ["policy test --from spiffe://east/a", "--to is missing"],
    ["policy test --from a --to b --port x", "1 to 65535"],
    ["policy show", "the name is missing"],
    ["service show", "apply, list, remove"],
    ["certificate issue --id x", "--cert is missing"],
    ["certificate show", "is missing"],
    ["certificate show xyz", "not a serial number"],
    ["certificate show 0a 0b", "one argument too many"],
    ["certificate revoke 0a --reason hold", "keyCompromise"],
    ["authority show", "there is list"],
    ["issuer issue", "--trust-domain is missing"],
    ["issuer issue --trust-domain x --for vault", "countersign, linkerd"],
    ["issuer issue --trust-domain x --secret tls", "linkerd or kubernetes.io/tls"],
    ["issuer watch --trust-domain x --renew-before 48h", "shorter than"],
    ["issuer watch --trust-domain x --kube-url http://a --kube-token-file t --kube-ca-file c", "https"],
    ["bundle show -o yaml", "json or pem"],
    ["audit verifi", "verify"],
    ["serve --listn x", "did you mean --listen?"],
    ["serve --listen", "--listen"],
    ["serve extra", "extra"],
    ["serve --listen nowhere", "127.0.0.1:8443"],
    ["serve --trust-domain EAST!", "trustDomain"],
  ] as const)("%s", async ([line, expected]) => {
    const { exitCode, stdout, stderr } = await countersign(line.split(" "), { COUNTERSIGN_DATA_DIR: "/nonexistent" });
    expect([exitCode, stdout]).toEqual([2, ""]);
    expect(stderr.replaceAll("\n", " ")).toContain(expected);
    expect(tooWide(stderr)).toEqual([]);
  });
});

test("a flag without its value is named, also where another flag stands in its place", async () => {
  for (const rest of [[], ["--data-dir", "x"]]) {
    const { exitCode, stderr } = await countersign(["serve", "--listen", ...rest]);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/^countersign serve: --listen needs a value;/)]);
  }
});
