/** Renders what the CA counts; prom-client's Registry is one. */
export interface MetricsRegistry {
  readonly contentType: string;
  metrics(): Promise<string>;
}
