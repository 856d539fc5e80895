export const roles = ["admin", "operator", "auditor"] as const;
/** admin: everything. operator: issue, revoke, make join tokens and read, all within its scope. auditor: read everything. */
export type Role = (typeof roles)[number];

/** A caller's role; a workload has proved who it is, and is nobody's operator. */
export type CallerRole = Role | "workload";
