import { describe, expect, test } from "vitest";
import { agentUrl } from "../../../proxy/attest/aws-ask.ts";

describe("where secrets go to and come from", () => {
  test.each([
    "http://169.254.170.2/v2", "http://169.254.170.23/v1/credentials", "http://[fd00:ec2::23]/v1/credentials", "http://127.0.0.1:1234/", "http://[::1]/", "http://localhost/", "https://agent.example/",
  ])("%s is taken: this host's own agent, or known by its certificate", (text) => {
    expect(agentUrl("NAME", text).href).toBe(text.endsWith("example") ? `${text}/` : text);
  });

  test.each(["http://169.254.169.254/", "http://169.254.170.3/", "http://[fd00:ec2::24]/", "http://localhost.evil.example/", "http://127.0.0.1.evil.example/", "http://evil.example/", "file:///etc/passwd"])("%s is not: it could be anybody's", (text) => {
    expect(() => agentUrl("NAME", text)).toThrow(/^NAME leads to .* own agents only/);
  });

  test("what is no URL is said to be none", () => {
    expect(() => agentUrl("NAME", "credentials")).toThrow("NAME is no URL");
  });
});
