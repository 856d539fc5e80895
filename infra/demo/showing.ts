/** How a demo tells what it shows, 80 columns wide, and counts what did not hold. */
export interface Showing {
  heading(text: string): void;
  /** Something that is so. */
  say(text: string): void;
  /** Runs one step, shows how it ended, and counts it when it did not hold. */
  step(what: string, expected: string, act: () => string | Promise<string>): Promise<void>;
  /** Something went wrong that nothing after it can do without. */
  fail(error: unknown): void;
  failed(): number;
}

/** Shows on the terminal. */
export function showOnTerminal(): Showing {
  let failed = 0;
  return {
    heading: (text) => console.log(`\n${text}`),
    say: (text) => console.log(`  √  ${text}`),
    async step(what, expected, act) {
      const actual = await Promise.resolve().then(act).catch((error: unknown) => `error: ${messageOf(error)}`);
      const holds = actual === expected;
      if (!holds) failed++;
      console.log(`  ${holds ? "√" : "×"}  ${what}: ${holds ? actual : `${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`}`);
    },
    fail(error) {
      failed++;
      console.error(`\n  ×  ${messageOf(error)}`);
    },
    failed: () => failed,
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
