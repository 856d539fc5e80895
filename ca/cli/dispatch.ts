import packageJson from "../../package.json" with { type: "json" };
import { nearestName } from "../config-spelling.ts";
import { UsageError } from "./arguments.ts";
import { ApiError } from "./api.ts";
import type { CliIo } from "./io.ts";
import { wrap } from "./wrap.ts";

/** A command: its arguments without its own name, the world, and the exit code it ends with. */
type Command = (args: readonly string[], io: CliIo) => Promise<number>;

/** Each command is loaded when it is called: `token create` has no use for a database driver. */
const commands: Readonly<Record<string, { readonly about: string; readonly load: () => Promise<Command> }>> = {
  serve: {
    about: "run the CA",
    load: async () => {
      const { serve } = await import("./serve.ts");
      return (args, io) => serve(args, io, signalled);
    },
  },
  token: { about: "make, list and delete join and API tokens", load: async () => (await import("./token.ts")).token },
  operator: { about: "give roles to SPIFFE IDs", load: async () => (await import("./operator.ts")).operator },
  policy: { about: "say who may call whom, and test it", load: async () => (await import("./policy.ts")).policy },
  service: { about: "say which identity answers to a name", load: async () => (await import("./policy.ts")).service },
  federation: { about: "trust the workloads of other trust domains", load: async () => (await import("./federation.ts")).federation },
  certificate: {
    about: "issue by hand, list, show, revoke, explain any",
    load: async () => (await import("./certificate.ts")).certificate,
  },
  authority: { about: "list, replace and revoke roots, issuers, JWT keys", load: async () => (await import("./authority.ts")).authority },
  ceremony: { about: "have a root whose key is offline sign", load: async () => (await import("./ceremony.ts")).ceremony },
  issuer: {
    about: "issuers for other CAs, such as linkerd's",
    load: async () => {
      const { issuer } = await import("./issuer.ts");
      return (args, io) => issuer(args, io, signalled);
    },
  },
  edges: { about: "who talks to whom, and is it secured", load: async () => (await import("./edges.ts")).edges },
  tap: { about: "look at live requests of a workload", load: async () => (await import("./tap.ts")).tap },
  jwt: { about: "tokens for what cannot do mutual TLS", load: async () => (await import("./jwt.ts")).jwt },
  check: { about: "whether all is well, line by line", load: async () => (await import("./check.ts")).check },
  clock: { about: "say that the CA's clock is right after it jumped", load: async () => (await import("./clock.ts")).clock },
  bundle: { about: "print the trust bundle", load: async () => (await import("./bundle.ts")).bundle },
  store: { about: "move the CA to another database", load: async () => (await import("./store.ts")).store },
  backup: { about: "everything in one sealed file", load: async () => (await import("./backup.ts")).backup },
  restore: { about: "a CA out of its backup", load: async () => (await import("./restore.ts")).restore },
  audit: { about: "verify the audit log", load: async () => (await import("./audit.ts")).audit },
};

/**
 * Finds the command and runs it.
 * @returns the exit code: 0 done, 1 it could not be done, 2 wrong usage
 */
export async function dispatch([given, ...args]: readonly string[], io: CliIo): Promise<number> {
  const name = given === "cert" ? "certificate" : given;
  if (name === "version" || name === "--version") {
    io.stdout(`countersign ${packageJson.version}, Node.js ${process.versions.node}\n`);
    return 0;
  }
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    if (args[0] !== undefined && name !== undefined) return dispatch([args[0], "--help"], io);
    (name === undefined ? io.stderr : io.stdout)(help);
    return name === undefined ? 2 : 0;
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    const near =
      nearestName(name, Object.keys(commands)) ?? Object.keys(commands).find((known) => known.startsWith(name));
    io.stderr(
      `countersign: there is no command "${name}"${near ? `; did you mean "${near}"?` : ""}\n` +
        '"countersign help" lists them.\n',
    );
    return 2;
  }
  try {
    return await (
      await command.load()
    )(args, io);
  } catch (error) {
    if (error instanceof UsageError) {
      io.stderr(`${wrap(`countersign ${name}: ${error.message}`)}\nSee "countersign ${name} --help".\n`);
      return 2;
    }
    if (error instanceof ApiError) {
      io.stderr(`${wrap(`countersign ${name}: ${error.message}`)}\n`);
      return 1;
    }
    throw error;
  }
}

/** Resolves at the first signal to stop; the second ends the process at once. */
function signalled(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    const onSignal = (): void => {
      if (asked) process.exit(1);
      asked = true;
      resolve();
    };
    process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
  });
}

const help = `countersign: a certificate authority for workloads

${Object.entries(commands)
  .map(([name, { about }]) => `  countersign ${name.padEnd(12)} ${about}\n`)
  .join("")}  countersign version

Each explains itself: countersign token --help
To begin: countersign serve
`;
