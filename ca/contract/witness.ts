/** `GET /v1/witness`: C2SP verifier keys. */
export interface WitnessKeys {
  /** Of this CA's audit log. */
  readonly logKey: string;
  /** Of this CA as a witness of others' logs. */
  readonly witnessKey: string;
}
