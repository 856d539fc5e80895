import { answerKms } from "./kms-operations.ts";
import type { KmsServer } from "./kms-server.ts";
import type { StandIn } from "./walk.ts";

/**
 * `aws kms` at a KMS of the tests: each flag is the parameter of the API under its name.
 * @source docs.aws.amazon.com/cli/latest/reference/kms
 */
export function awsCli({ keys }: KmsServer): StandIn {
  return ([service, command = "", ...flags]) => {
    const operation = pascal(command);
    const known = parameters[operation];
    if (service !== "kms" || known === undefined) throw new Error(`aws ${service} ${command}: not known here`);
    const given = new Map(flags.flatMap((flag, index) => (flag.startsWith("--") ? [[pascal(flag.slice(2)), flags[index + 1] ?? ""]] : [])));
    const [query, format] = [given.get("Query"), given.get("Output")];
    const input = Object.fromEntries([...given].filter(([name]) => name !== "Query" && name !== "Output"));
    for (const name of Object.keys(input)) if (!known.includes(name)) throw new Error(`aws kms ${command}: there is no ${name}`);
    if (operation === "CreateAlias" && !/^alias\/[\w/-]+$/.test(input["AliasName"] ?? "")) throw new Error(`"${input["AliasName"]}" is no name of an alias`);
    const answer = answerKms(operation, input, keys);
    if (query === undefined) return JSON.stringify(answer);
    if (format !== "text") throw new Error("only text is known here");
    return `${String(query.split(".").reduce<unknown>((value, name) => (value as Record<string, unknown>)[name], answer))}\n`;
  };
}

function pascal(name: string): string {
  return name.split("-").map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
}

const parameters: Readonly<Record<string, readonly string[]>> = { CreateKey: ["KeySpec", "KeyUsage", "Description"], CreateAlias: ["AliasName", "TargetKeyId"] };
