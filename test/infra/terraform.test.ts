import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readConfig } from "../../ca/config/config.ts";
import { parseHcl, type HclBlock, type HclValue } from "../support/hcl.ts";
import { programAvailable } from "../support/programs.ts";

const folder = fileURLToPath(new URL("../../infra/terraform", import.meta.url));
const blocks = readdirSync(folder).filter((name) => name.endsWith(".tf")).flatMap((name) => parseHcl(readFileSync(`${folder}/${name}`, "utf8")));
const resources = blocks.filter(({ type }) => type === "resource");
const ceremonyRole = { expression: "var.ceremony_role_arn" };
const sealers = { expression: "concat([aws_iam_role.function.arn],var.operator_role_arns)" };

describe("the key of the root", () => {
  test("signs for the ceremony role alone, whatever IAM allows others", () => {
    const [allowed, ...more] = statements("aws_kms_key", "root").filter(({ Effect, Action }) => Effect === "Allow" && covers(Action, "kms:Sign"));
    expect([allowed?.["Principal"], more]).toEqual([{ AWS: ceremonyRole }, []]);
    const denied = statements("aws_kms_key", "root").filter(({ Effect }) => Effect === "Deny");
    expect(denied).toMatchObject([{
      Principal: { AWS: "*" }, Action: expect.arrayContaining(["kms:Sign", "kms:CreateGrant"]), Condition: { ArnNotEquals: { "aws:PrincipalArn": ceremonyRole } },
    }]);
  });

  test("is named in no policy of the function, and is no setting of it", () => {
    for (const { type, labels, attributes } of resources.filter(({ type, labels: [kind] }) => type === "resource" && /^aws_(iam_role_policy|vpc_endpoint|lambda_function)$/.test(kind ?? ""))) {
      expect(JSON.stringify(attributes), `${type} ${labels.join(".")}`).not.toContain("aws_kms_key.root");
    }
  });
});

test("the sealing key wraps and unwraps for the function alone, and for this trust domain", () => {
  const use = statements("aws_kms_key", "sealing").filter(({ Effect, Action }) => Effect === "Allow" && covers(Action, "kms:Decrypt"));
  expect(use).toEqual([{
    Sid: "WrapAndUnwrap", Effect: "Allow", Principal: { AWS: sealers }, Action: ["kms:GenerateDataKey", "kms:Decrypt"], Resource: "*",
    Condition: {
      StringEquals: {
        "kms:EncryptionContext:countersign:purpose": "sealing-key", "kms:EncryptionContext:countersign:trust-domain": { expression: "var.trust_domain" },
      },
    },
  }]);
  expect(statements("aws_kms_key", "sealing").filter(({ Effect }) => Effect === "Deny")).toMatchObject([{
    Principal: { AWS: "*" }, Action: expect.arrayContaining(["kms:Decrypt", "kms:CreateGrant"]), Condition: { ArnNotEquals: { "aws:PrincipalArn": sealers } },
  }]);
});

test("the intermediate's key signs for the function alone", () => {
  expect(statements("aws_kms_key", "intermediate").filter(({ Effect, Action }) => Effect === "Allow" && covers(Action, "kms:Sign"))).toMatchObject([{ Principal: { AWS: sealers } }]);
});

test.each(["root", "intermediate", "sealing"])("who administers the %s key neither signs nor decrypts with it, and it is not deleted by accident", (name) => {
  const { blocks: inner, attributes } = resource("aws_kms_key", name);
  expect(attributes["deletion_window_in_days"]).toBe(30);
  expect(inner).toMatchObject([{ type: "lifecycle", attributes: { prevent_destroy: true } }]);
  const [administer] = statements("aws_kms_key", name).filter(({ Sid }) => Sid === "Administer");
  expect(administer).toMatchObject({ Principal: { AWS: { expression: "var.key_administrator_arns" } }, Action: { expression: "local.key_administration" } });
  const actions = blocks.flatMap(({ type, attributes: locals }) => (type === "locals" ? [locals["key_administration"]] : [])).find((value) => value !== undefined);
  for (const act of ["kms:Sign", "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom"]) expect(covers(actions, act), act).toBe(false);
});

test("the function's role may log, have its network interfaces and put objects into its bucket, and no KMS action comes from IAM", () => {
  const own = statements("aws_iam_role_policy", "function");
  expect(own.filter(({ Effect }) => Effect === "Allow").map(({ Sid }) => Sid)).toEqual(["Log", "PublishDocuments", "BeInTheVpc"]);
  for (const { labels: [kind, name] } of resources.filter(({ labels: [type] }) => type === "aws_iam_role_policy")) {
    for (const { Effect, Action } of statements(kind!, name!)) if (Effect === "Allow") expect(JSON.stringify(Action)).not.toMatch(/kms|"\*"|iam:/);
  }
});

describe("the bucket", () => {
  const everything = { expression: '"${aws_s3_bucket.documents.arn}/*"' };
  const locals = Object.assign({}, ...blocks.filter(({ type }) => type === "locals").map(({ attributes }) => attributes)) as Readonly<Record<string, HclValue>>;
  const policy = locals["documents_policy"] as readonly Readonly<Record<string, HclValue>>[];

  test("takes objects from the function alone, whatever IAM allows others, which puts and does no more", () => {
    const [publish] = statements("aws_iam_role_policy", "function").filter(({ Sid }) => Sid === "PublishDocuments");
    expect(publish).toEqual({ Sid: "PublishDocuments", Effect: "Allow", Action: ["s3:PutObject"], Resource: everything });
    for (const { labels: [kind, name] } of resources.filter(({ labels: [type] }) => type === "aws_iam_role_policy")) {
      for (const { Effect, Action, Sid } of statements(kind!, name!)) if (Effect === "Allow" && Sid !== "PublishDocuments") expect(JSON.stringify(Action)).not.toContain("s3:");
    }
    const [others] = policy.filter(({ Sid }) => Sid === "NobodyElseWrites");
    expect(others).toEqual({
      Sid: "NobodyElseWrites", Effect: "Deny", Principal: { AWS: "*" }, Action: ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"], Resource: everything,
      Condition: { ArnNotEquals: { "aws:PrincipalArn": { expression: "aws_iam_role.function.arn" } } },
    });
    expect(policy.every(({ Effect }) => Effect === "Deny")).toBe(true);
  });

  test("is read by everybody only where the operator says so, and then no more than read, object by object", () => {
    expect(blocks.find(({ type, labels }) => type === "variable" && labels[0] === "public_documents")?.attributes["default"]).toBe(false);
    expect(resource("aws_s3_bucket_public_access_block", "documents").attributes).toMatchObject({
      block_public_acls: true, ignore_public_acls: true, block_public_policy: { expression: "!var.public_documents" }, restrict_public_buckets: { expression: "!var.public_documents" },
    });
    expect(locals["documents_for_everybody"]).toEqual([{ Sid: "EverybodyReads", Effect: "Allow", Principal: { AWS: "*" }, Action: ["s3:GetObject"], Resource: everything }]);
    expect(JSON.stringify(resource("aws_s3_bucket_policy", "documents").attributes)).toMatch(/concat\(local\.documents_policy,\s*var\.public_documents\s*\?\s*local\.documents_for_everybody\s*:\s*\[\]\)/);
  });

  test("is encrypted, keeps what was there before, has no ACLs, and its endpoint lets nothing else out of the VPC", () => {
    const inner = (kind: string): string => JSON.stringify(resource(kind, "documents").blocks);
    expect(inner("aws_s3_bucket_versioning")).toContain('"status":"Enabled"');
    expect(inner("aws_s3_bucket_server_side_encryption_configuration")).toContain('"sse_algorithm":"AES256"');
    expect(inner("aws_s3_bucket_ownership_controls")).toContain('"object_ownership":"BucketOwnerEnforced"');
    expect(statements("aws_vpc_endpoint", "s3")).toEqual([{
      Effect: "Allow", Principal: { AWS: "*" }, Action: ["s3:PutObject"], Resource: everything, Condition: { ArnEquals: { "aws:PrincipalArn": { expression: "aws_iam_role.function.arn" } } },
    }]);
  });
});

test("the database is reached from within, by TLS, encrypted, kept, and by a verified name", () => {
  expect(resource("aws_db_instance", "store").attributes).toMatchObject({
    publicly_accessible: false, storage_encrypted: true, deletion_protection: true, backup_retention_period: 14, skip_final_snapshot: false,
  });
  expect(JSON.stringify(resource("aws_lambda_function", "ca"))).toContain("sslmode=verify-full");
  for (const { labels: [, name], attributes } of resources.filter(({ labels: [type] }) => type === "aws_vpc_security_group_ingress_rule")) {
    expect(attributes, name).toHaveProperty("referenced_security_group_id");
    expect(attributes, name).not.toHaveProperty("cidr_ipv4");
  }
});

test("what it sets of the CA are settings of the CA", () => {
  const text = JSON.stringify(resource("aws_lambda_function", "ca"));
  const names = [...new Set(text.match(/COUNTERSIGN_[A-Z_]+/g))];
  expect(names.length).toBeGreaterThan(3);
  const values: Record<string, string> = { COUNTERSIGN_STORE: "postgres://a@b/c", COUNTERSIGN_PUBLIC_URL: "https://a.example", COUNTERSIGN_SEALING: "kms:x", COUNTERSIGN_ROOT_KEY: "offline", COUNTERSIGN_PUBLISH: "s3://documents" };
  const { rootKey, sealingKmsKey, trustDomain, publicUrl } = readConfig({ env: Object.fromEntries(names.map((name) => [name, values[name] ?? "east"])) });
  expect([rootKey.kind, sealingKmsKey, trustDomain, publicUrl]).toEqual(["offline", "x", "east", "https://a.example"]);
});

test("every variable and output says what it is, and whatever is referred to is there", () => {
  for (const { type, labels: [name], attributes } of blocks) {
    if (type !== "variable" && type !== "output") continue;
    expect(attributes["description"], name).toMatch(/^[A-Z].{20,}\.$/);
  }
  const text = JSON.stringify(blocks);
  const declared = new Set(blocks.flatMap(({ type, labels, attributes }) => {
    if (type === "variable") return [`var.${labels[0]}`];
    if (type === "locals") return Object.keys(attributes).map((name) => `local.${name}`);
    return type === "resource" ? [labels.join(".")] : type === "data" ? [`data.${labels.join(".")}`] : [];
  }));
  const used = text.match(/\b(?:var\.\w+|local\.\w+|data\.aws_\w+\.\w+|(?<!data\.)(?:aws|random)_\w+\.\w+)/g) ?? [];
  expect(used.length).toBeGreaterThan(60);
  expect([...new Set(used)].filter((name) => !declared.has(name))).toEqual([]);
});

test.skipIf(!programAvailable("terraform"))("it is written as terraform fmt writes it", () => {
  const { status, stdout } = spawnSync("terraform", ["fmt", "-check", "-recursive", folder], { encoding: "utf8" });
  expect([status, stdout]).toEqual([0, ""]);
});

test("the columns of what it costs add up", () => {
  const rows = readFileSync(`${folder}/README.md`, "utf8").split("\n").filter((line) => line.startsWith("| ")).map((line) => line.split("|").slice(2, 5).map((cell) => Number(cell.replaceAll(/[* ]/g, ""))));
  const numbers = rows.filter((cells) => cells.every((cell) => !Number.isNaN(cell)) && cells.length === 3);
  const sums = readFileSync(`${folder}/README.md`, "utf8").split("\n").find((line) => line.includes("**sum**"))!.split("|").slice(2, 5).map((cell) => Number(cell.replaceAll(/[* ]/g, "")));
  const parts = numbers.slice(0, numbers.findIndex((cells) => cells.join() === sums.join()));
  expect(parts.length).toBeGreaterThan(5);
  for (const [column, sum] of sums.entries()) {
    const added = parts.reduce((total, cells) => total + cells[column]!, 0);
    expect(Math.abs(added - sum) / sum, `column ${column}: ${added}`).toBeLessThan(0.005);
  }
});

const isInitialized = existsSync(`${folder}/.terraform/providers`);
if (!isInitialized) console.warn("NOT TESTED: terraform validate of infra/terraform; it needs the AWS provider (terraform -chdir=infra/terraform init)");
// The provider cannot be taken for granted anywhere, CI included: where it is not, there is no such test.
if (isInitialized) test("it is valid to the AWS provider", () => {
  const { status, stdout, stderr } = spawnSync("terraform", [`-chdir=${folder}`, "validate"], { encoding: "utf8" });
  expect([status, status === 0 ? "" : stdout + stderr]).toEqual([0, ""]);
});

function resource(kind: string, name: string): HclBlock {
  const found = resources.find(({ labels }) => labels[0] === kind && labels[1] === name);
  if (found === undefined) throw new Error(`there is no ${kind} ${name}`);
  return found;
}

function statements(kind: string, name: string): readonly Readonly<Record<string, HclValue>>[] {
  const { Version, Statement } = resource(kind, name).attributes["policy"] as { readonly Version: string; readonly Statement: readonly Readonly<Record<string, HclValue>>[] };
  expect(Version).toBe("2012-10-17");
  return Statement;
}

/** As IAM matches actions; an expression is taken for none, since each is tested by its name. */
function covers(actions: HclValue | undefined, act: string): boolean {
  const list = typeof actions === "string" ? [actions] : Array.isArray(actions) ? actions as readonly string[] : [];
  return list.some((action) => new RegExp(`^${action.replaceAll("*", ".*")}$`).test(act));
}
