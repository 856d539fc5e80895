/** What a command is for, and among which others it is told of. */
export interface About {
  readonly about: string;
  readonly group: Group;
}

export type Group = keyof typeof headings;

/** `countersign help`: what there is, by what one wants to do, and how to begin. */
export function overview(commands: Readonly<Record<string, About>>): string {
  const sections = Object.entries(headings).map(([group, heading]) => {
    const lines = Object.entries(commands).filter(([, about]) => about.group === group).map(([name, { about }]) => `  countersign ${name.padEnd(12)} ${about}\n`);
    return `${heading}\n${lines.join("")}`;
  });
  return `countersign: a certificate authority for workloads\n\n${sections.join("\n")}\n${firstSteps}`;
}

const headings = {
  run: "Run it",
  workloads: "Workloads and people",
  trust: "Whom others trust",
  see: "See how it is",
} as const;

const firstSteps = `First steps, each in a terminal of its own:
  countersign serve
  countersign token create --id spiffe://countersign.local/world > world.join
  chmod 600 world.join
  countersign-proxy --bootstrap-file world.join --app 127.0.0.1:8080
  countersign check

Each explains itself: countersign token --help
TAB completes: source <(countersign completion bash)    (or zsh, fish)
`;
