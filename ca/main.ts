import { dispatch } from "./cli/dispatch.ts";
import { readAll } from "./cli/input.ts";
import { screenOf } from "./cli/io.ts";
import { terminalAsk } from "./cli/prompt.ts";

// `countersign audit ... | head` closes our output early, which is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

process.exitCode = await dispatch(process.argv.slice(2), {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  env: process.env,
  isTerminal: process.stderr.isTTY,
  // https://no-color.org
  hasColour: process.stdout.isTTY && !process.env["NO_COLOR"] && process.env["TERM"] !== "dumb",
  screen: screenOf(process.stdout, process.env),
  readStdin: (maxBytes) => readAll(process.stdin, maxBytes),
  ask: terminalAsk(process.stdin, process.stderr),
});
