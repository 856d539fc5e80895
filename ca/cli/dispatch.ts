import packageJson from "../../package.json" with { type: "json" };
import { inertLines } from "../settings/inert.ts";
import { nearestName } from "../settings/spelling.ts";
import { UsageError } from "./arguments.ts";
import { ApiError } from "./api.ts";
import type { CliIo } from "./io.ts";
import { overview, type About } from "./overview.ts";
import type { HelpText } from "./reference.ts";
import { wrap } from "../settings/wrap.ts";

/** A command: its arguments without its own name, the world, and the exit code it ends with. */
type Command = (args: readonly string[], io: CliIo) => Promise<number>;

/** Each command is loaded when it is called: `token create` has no use for a database driver. */
const commands: Readonly<Record<string, About & { readonly load: () => Promise<Command> }>> = {
  serve: {
    group: "run", about: "run the CA",
    load: async () => {
      const { serve } = await import("./serve.ts");
      return (args, io) => serve(args, io, signalled);
    },
  },
  token: { group: "workloads", about: "make, list and delete join and API tokens", load: async () => (await import("./token.ts")).token },
  operator: { group: "workloads", about: "give roles to SPIFFE IDs", load: async () => (await import("./operator.ts")).operator },
  policy: { group: "workloads", about: "say who may call whom, and test it", load: async () => (await import("./policy.ts")).policy },
  service: { group: "workloads", about: "say which identity answers to a name", load: async () => (await import("./policy.ts")).service },
  federation: { group: "trust", about: "trust the workloads of other trust domains", load: async () => (await import("./federation.ts")).federation },
  certificate: {
    group: "workloads", about: "issue by hand, list, show, revoke, explain any",
    load: async () => (await import("./certificate.ts")).certificate,
  },
  authority: { group: "trust", about: "list, replace and revoke roots, issuers, JWT keys", load: async () => (await import("./authority.ts")).authority },
  ceremony: { group: "trust", about: "have a root whose key is offline sign", load: async () => (await import("./ceremony.ts")).ceremony },
  issuer: {
    group: "trust", about: "issuers for other CAs, such as linkerd's",
    load: async () => {
      const { issuer } = await import("./issuer.ts");
      return (args, io) => issuer(args, io, signalled);
    },
  },
  inject: {
    group: "workloads", about: "proxies for workloads on Kubernetes",
    load: async () => {
      const { inject } = await import("./inject.ts");
      return (args, io) => inject(args, io, signalled);
    },
  },
  edges: {
    group: "see", about: "who talks to whom, and is it secured",
    load: async () => {
      const { edges } = await import("./edges.ts");
      return (args, io) => edges(args, io, signalled);
    },
  },
  tap: {
    group: "see", about: "look at live requests of a workload",
    load: async () => {
      const { tap } = await import("./tap.ts");
      return (args, io) => tap(args, io, signalled);
    },
  },
  top: {
    group: "see", about: "which live requests are many, slow or failing",
    load: async () => {
      const { top } = await import("./top.ts");
      return (args, io) => top(args, io, signalled);
    },
  },
  jwt: { group: "workloads", about: "tokens for what cannot do mutual TLS", load: async () => (await import("./jwt.ts")).jwt },
  check: {
    group: "see", about: "whether all is well, line by line",
    load: async () => {
      const { check } = await import("./check.ts");
      return (args, io) => check(args, io, signalled);
    },
  },
  dashboard: { group: "see", about: "a link into the dashboard, for a browser", load: async () => (await import("./dashboard.ts")).dashboard },
  clock: { group: "run", about: "say that the CA's clock is right after it jumped", load: async () => (await import("./clock.ts")).clock },
  bundle: { group: "trust", about: "print the trust bundle", load: async () => (await import("./bundle.ts")).bundle },
  store: { group: "run", about: "move, reseal or initialize the CA's database", load: async () => (await import("./store.ts")).store },
  backup: { group: "run", about: "everything in one sealed file", load: async () => (await import("./backup.ts")).backup },
  restore: { group: "run", about: "a CA out of its backup", load: async () => (await import("./restore.ts")).restore },
  completion: {
    group: "run", about: "have TAB complete commands and flags",
    load: async () => {
      const { completion } = await import("./completion.ts");
      return (args, io) => completion(args, io, helpTexts);
    },
  },
  audit: { group: "see", about: "verify the audit log", load: async () => (await import("./audit.ts")).audit },
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
      io.stderr(`${wrap(`countersign ${name}: ${inertLines(error.message)}`)}\nSee "countersign ${name} --help".\n`);
      return 2;
    }
    if (error instanceof ApiError) {
      io.stderr(`${wrap(`countersign ${name}: ${inertLines(error.message)}`)}\n`);
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

/** Of every command. */
export const commandNames: readonly string[] = Object.keys(commands);

/** What each command says of itself: its name, one line, its help. */
export async function helpTexts(): Promise<readonly HelpText[]> {
  return Promise.all(Object.entries(commands).map(async ([name, { about, load }]) => {
    let text = "";
    await (await load())(["--help"], { stdout: (part) => void (text += part), stderr: () => undefined, env: {} });
    return [name, about, text] as const;
  }));
}

const help = overview(commands);
