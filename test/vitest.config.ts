import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files by their size, the largest first, since nothing else is known of them; but before all others those that take long. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const index = longest.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
      return index === -1 ? longest.length : index;
    };
    return (await super.sort(files)).sort((one, other) => rank(one) - rank(other));
  }
}

/** More than ten seconds each: one that began last would leave the other cores with nothing to do. */
const longest = [
  "e2e/crash", "e2e/demo", "ca/store/postgres", "e2e/replicas", "ca/store/sqlite", "e2e/newcomer", "e2e/authority", "e2e/dashboard", "fuzz/api",
  "readme-commands", "ca/cli/ceremony", "e2e/transparent", "ca/runtime/sealing-wait", "e2e/acme-programs", "e2e/endurance", "e2e/outage", "proxy/bounds",
];

export default defineConfig({
  test: {
    root: new URL("..", import.meta.url).pathname,
    include: ["test/**/*.test.ts"],
    environment: "node",
    pool: "forks",
    // Loading the sources anew for each file would be half of all CPU.
    isolate: false,
    // For a third of its time a test waits for a process, a disk or a timer.
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongestFirst },
    globalSetup: ["test/support/global-setup.ts"],
    setupFiles: ["test/support/environment-left.ts"],
    // What is waited for is the event; how long a busy machine takes over it says nothing.
    testTimeout: 120_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 20_000 } },
  },
});
