import { dispatch } from "./cli/dispatch.ts";
import { readAll } from "./cli/input.ts";
import { screenOf } from "./cli/io.ts";
import { terminalAsk } from "./cli/prompt.ts";

// What is told beside a result, and the log, may have no reader or no room.
process.stderr.on("error", () => undefined);
// `countersign audit ... | head` closes our output early, which is no failure.
process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => {
  if (code === "EPIPE") process.exit(0);
  process.stderr.write(`countersign: the output cannot be written (${code}); what was asked for may have been done, so look before you repeat it\n`);
  process.exit(1);
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
