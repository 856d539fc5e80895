/** Help of `countersign ceremony`. */
export const ceremonyUsage = `countersign ceremony: what a root whose key is offline does for the CA

On the CA's machine (it may serve meanwhile):
  countersign ceremony request root --out root.request
      a new root; its key is made where it signs
  countersign ceremony request intermediate --out FILE [--lifetime 365d]
      [--key software|kms:KEY-ID|pkcs11:...]
      what the CA runs on; its key is made here, or was made in KMS or a token
  countersign ceremony request root-crl --out FILE [--lifetime 90d]
      the root's CRL, with the authorities below it that were revoked
  countersign ceremony request cross-certificate --root ANSWER --out FILE
      the old root vouches for a new one, which is not imported yet
  countersign ceremony import ANSWER [--cross ANSWER] [--key KEY]
      says what it takes and asks for the request's fingerprint, or for a new
      root's own; takes authority and transcript into the audit log;
      --key kms:KEY-ID or pkcs11:... of a root that the CA is to sign with
  countersign ceremony list | show FINGERPRINT | withdraw FINGERPRINT

On the machine with the root's key, without network or database:
  countersign ceremony sign REQUEST --key KEY --out ANSWER
      says what it will do and asks for the fingerprint that "request" printed

  --key KEY               file with the key, sealed by a passphrase;
                          kms:KEY-ID or pkcs11:... (RFC 7512)
  --create-key ec-p384    makes that file (or ec-p256)
  --passphrase-file FILE  instead of asking for it
  --confirm FINGERPRINT   instead of asking for it, for scripts
  --operator NAME         for the transcript; default: the user's name

The CA, unless COUNTERSIGN_* say it:
  --store URL   --data-dir DIR   --config FILE   -o json
`;
