import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: new URL("..", import.meta.url).pathname,
    include: ["test/**/*.test.ts"],
    environment: "node",
    pool: "forks",
    // Loading the sources anew for each file would be half of all CPU.
    isolate: false,
    // The default leaves one core to the tests' runner, which has little to do.
    maxWorkers: "100%",
    globalSetup: ["test/support/global-setup.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
