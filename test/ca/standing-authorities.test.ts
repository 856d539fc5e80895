import { expect, test } from "vitest";
import type { CaConfig } from "../../ca/config/config.ts";
import { checkAuthorities } from "../../ca/standing-authorities.ts";
import type { AuthorityRow } from "../../ca/store/rows/authorities.ts";
import { newAuthority } from "./store/acts.ts";

const ownRoot = {} as CaConfig;
const below = { upstream: {} } as CaConfig;
const row = (type: AuthorityRow["type"], kind: AuthorityRow["key"]["kind"] = "sealed", state: AuthorityRow["state"] = "active"): AuthorityRow => (
  newAuthority({ type, state, key: { kind } as AuthorityRow["key"] })
);

test.for<[string, CaConfig, readonly AuthorityRow[], string | undefined]>([
  ["a root and its issuer", ownRoot, [row("root"), row("issuer")], undefined],
  ["a root that is to sign its first issuer", ownRoot, [row("root", "kms")], undefined],
  ["an offline root and an intermediate", ownRoot, [row("root", "offline"), row("intermediate")], undefined],
  ["an offline root and an issuer that still serves", ownRoot, [row("root", "offline"), row("issuer")], undefined],
  ["an offline root alone", ownRoot, [row("root", "offline")], "authority_missing"],
  ["an offline root and an intermediate that has ended", ownRoot, [row("root", "offline"), row("intermediate", "sealed", "retired")], "authority_missing"],
  ["an issuer of a CA above, which is configured", below, [row("root", "upstream"), row("issuer")], undefined],
  ["a root of another CA, and no CA above is configured", ownRoot, [row("root", "upstream"), row("issuer")], "root_changed"],
  ["a root of its own, and a CA above is configured", below, [row("root"), row("issuer")], "root_changed"],
])("a start with %s", ([, config, rows, code]) => {
  const start = (): void => checkAuthorities(config, rows);
  if (code === undefined) expect(start).not.toThrow();
  else expect(start).toThrow(expect.objectContaining({ code }));
});
