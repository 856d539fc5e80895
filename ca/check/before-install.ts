import { finding, findingOf, type Finding, type Trouble } from "./finding.ts";

/** What is there before a CA is installed. Each `string` says what is wrong; undefined: nothing. */
export interface BeforeInstallFacts {
  readonly nodeVersion: string;
  /** Without settings that hold together nothing else can be looked at. */
  readonly config: { readonly trouble: string } | {
    readonly trouble?: undefined;
    readonly folder: string | undefined;
    readonly listen: string | undefined;
    readonly store: string | undefined;
    readonly sealing: string | undefined;
    /** Of each attestor that is not well, by name; undefined: none is set. */
    readonly attestors: readonly string[] | undefined;
    /** Undefined: ACME is not set. */
    readonly acme: readonly string[] | undefined;
    /** Undefined: none is set. */
    readonly web: readonly string[] | undefined;
    /** The database's clock less this machine's; undefined where it has none of its own or did not answer. */
    readonly clockOffsetMs: number | undefined;
  };
}

/** Whether a CA would start here with these settings. */
export function judgeBeforeInstall({ nodeVersion, config }: BeforeInstallFacts): readonly Finding[] {
  const node = finding("pre-node", isRecent(nodeVersion) ? undefined : { status: "failed", what: `this is ${nodeVersion}` });
  if (config.trouble !== undefined) return [node, finding("pre-config", { status: "failed", what: config.trouble })];
  const { folder, listen, store, sealing, attestors, acme, web, clockOffsetMs } = config;
  return [
    node, finding("pre-config"),
    finding("pre-folder", failed(folder)), finding("pre-listen", failed(listen)), finding("pre-store", failed(store)), finding("pre-sealing", failed(sealing)),
    ...(attestors === undefined ? [] : [findingOf("pre-attestors", "warning", attestors)]),
    ...(acme === undefined ? [] : [findingOf("pre-acme", "failed", acme)]),
    ...(web === undefined ? [] : [findingOf("pre-web", "failed", web)]),
    ...(clockOffsetMs === undefined ? [] : [finding("pre-clock", judgeOffset(clockOffsetMs))]),
  ];
}

function failed(what: string | undefined): Trouble | undefined {
  return what === undefined ? undefined : { status: "failed", what };
}

function isRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > needed[0] || (major === needed[0] && minor >= needed[1]);
}

function judgeOffset(offsetMs: number): Trouble | undefined {
  if (Math.abs(offsetMs) < warnOffsetMs) return undefined;
  return { status: Math.abs(offsetMs) < doubtMs ? "warning" : "failed", what: `the database's is ${(Math.abs(offsetMs) / 1000).toFixed(1)} s ${offsetMs < 0 ? "behind" : "ahead"}` };
}

/** As `engines` in package.json. */
const needed = [24, 12] as const;
export const warnOffsetMs = 5000;
/** From here on the CA issues nothing. */
export const doubtMs = 10_000;
