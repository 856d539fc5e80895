/** What the proxies decide by and `countersign policy test` explains by: pure, and wrong when the two differ. */
export const policyKernel = ["ca/policy/decide.ts", "ca/policy/parse.ts", "ca/policy/http-path.ts", "ca/policy/id-pattern.ts"];

/** What the proxy may carry of the CA's sources: paths, or folders with a slash at the end. */
export const sharedWithProxy = ["ca/pki/", "ca/contract/", "ca/settings/", ...policyKernel];
