import { afterAll } from "vitest";

// Test files share a process: what one puts into the environment, such as AWS's credentials, is not for the next. (Vitest runs this for each file.)
const before = { ...process.env };
afterAll(() => {
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
});
