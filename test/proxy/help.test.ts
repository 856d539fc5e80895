import { expect, test } from "vitest";
import { completionHelp } from "../../proxy/completion.ts";
import { renderConfigHelp } from "../../proxy/config/table.ts";
import { gatewayHelp } from "../../proxy/gateway/command.ts";
import { proxyHelp } from "../../proxy/help.ts";
import { interceptHelp } from "../../proxy/intercept/options.ts";
import { wireHelp } from "../../proxy/intercept/verify-wire.ts";
import { tapHelp } from "../../proxy/tap/command.ts";
import { tooWide } from "../support/command-line.ts";

test.for([["proxy", proxyHelp + renderConfigHelp()], ["intercept", interceptHelp], ["gateway", gatewayHelp], ["tap", tapHelp], ["verify-wire", wireHelp], ["completion", completionHelp]] as const)(
  "what %s says of itself fits a terminal of 80 columns and shows how it is called", ([, help]) => {
    expect(tooWide(help)).toEqual([]);
    expect(help).toMatch(/^ {2}countersign-proxy /m);
  });
