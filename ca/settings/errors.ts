/** `value_refused`: one setting is wrong by itself, or missing. `contradiction`: two settings cannot both hold. */
export type ConfigErrorCode = "file_unreadable" | "unknown_setting" | "value_refused" | "contradiction";

/** A configuration that is not started with. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly code: ConfigErrorCode;

  constructor(code: ConfigErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
