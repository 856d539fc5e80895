import { dispatch } from "./cli/dispatch.ts";

process.exitCode = await dispatch(process.argv.slice(2), {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  env: process.env,
  isTerminal: process.stderr.isTTY,
});
