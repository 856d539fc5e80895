/** Where use-cases report what an operator should see; pino's logger is one. Fields never hold a secret. */
export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
