import type { ClockConfirmation } from "../contract/clock.ts";
import { paths } from "../contract/paths.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { chooseAction, noMore, readArguments, required, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";

/** `countersign clock confirm`. */
export async function clock(args: readonly string[], io: CliIo): Promise<number> {
  const {
    values,
    positionals: [action, ...rest],
  } = readArguments(args, { ...apiOptions, time: { type: "string" } });
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  const { print, explain } = output(values.output, io);
  chooseAction("clock", action, ["confirm"]);
  noMore(rest);
  const given = required(values.time, "--time", "2026-03-01T12:00:00Z, or now");
  if (given !== "now" && !instant.test(given)) throw new UsageError(`--time is now, or an instant like 2026-03-01T12:00:00Z, not ${given}.`);
  const time = given === "now" ? new Date().toISOString() : given;
  const confirmed = await api(values, io).call<ClockConfirmation>("POST", paths.clock, { time });
  print(confirmed, `${confirmed.time}\n`);
  explain(confirmed.doubt === undefined ? "The CA was in no doubt about its clock.\n" : "The CA issues again.\n");
  return 0;
}

const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?Z$/;

const usage = `countersign clock: what to do when the CA's clock jumped

  countersign clock confirm --time 2026-03-01T12:00:00Z
      the time (UTC) of a clock that is not that machine's, to some seconds
  countersign clock confirm --time now
      this machine's clock: only on another machine than the CA's

After a jump the CA issues nothing: it cannot tell a clock that was set right
from one that was set wrong. It goes on when the clock is back, when it is
started again, or when an admin says that the clock is right.
${apiHelp}`;
