CREATE TABLE "audit_checkpoints" (
	"size" bigint PRIMARY KEY NOT NULL,
	"note" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_entries" (
	"idx" bigint PRIMARY KEY NOT NULL,
	"body" text NOT NULL,
	"leaf_hash" "bytea" NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_subtrees" (
	"level" integer NOT NULL,
	"idx" bigint NOT NULL,
	"hash" "bytea" NOT NULL,
	CONSTRAINT "audit_subtrees_level_idx_pk" PRIMARY KEY("level","idx")
);
--> statement-breakpoint
CREATE TABLE "authorities" (
	"id" text PRIMARY KEY NOT NULL,
	"type" text NOT NULL,
	"state" text NOT NULL,
	"certificate" "bytea" NOT NULL,
	"sealed_private_key" "bytea" NOT NULL,
	"not_before_ms" bigint NOT NULL,
	"not_after_ms" bigint NOT NULL,
	"created_at_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "ca_state" (
	"id" integer PRIMARY KEY NOT NULL,
	"trust_domain" text NOT NULL,
	"bundle_sequence" bigint NOT NULL,
	"log_verifier_key" text NOT NULL,
	"sealed_log_key" "bytea" NOT NULL,
	"created_at_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "certificates" (
	"log_index" bigint PRIMARY KEY NOT NULL,
	"serial_number" text NOT NULL,
	"spiffe_id" text NOT NULL,
	"dns_names" text,
	"not_before_ms" bigint NOT NULL,
	"not_after_ms" bigint NOT NULL,
	"authority_id" text NOT NULL,
	"attestation" text NOT NULL,
	"certificate" "bytea" NOT NULL,
	"key_fingerprint" "bytea" NOT NULL,
	"issued_at_ms" bigint NOT NULL,
	"token_id" text,
	"renewed_from" text
);
--> statement-breakpoint
CREATE TABLE "idempotency_keys" (
	"scope" text NOT NULL,
	"key" text NOT NULL,
	"request_hash" text NOT NULL,
	"serial_number" text NOT NULL,
	"expires_at_ms" bigint NOT NULL,
	CONSTRAINT "idempotency_keys_scope_key_pk" PRIMARY KEY("scope","key")
);
--> statement-breakpoint
CREATE TABLE "log_head" (
	"id" integer PRIMARY KEY NOT NULL,
	"size" bigint NOT NULL,
	"hashes" "bytea" NOT NULL
);
--> statement-breakpoint
CREATE TABLE "revocations" (
	"sequence" bigint PRIMARY KEY NOT NULL,
	"serial_number" text NOT NULL,
	"reason" text NOT NULL,
	"revoked_at_ms" bigint NOT NULL,
	"not_after_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "tokens" (
	"id" text PRIMARY KEY NOT NULL,
	"type" text NOT NULL,
	"secret_hash" "bytea" NOT NULL,
	"version" bigint NOT NULL,
	"created_at_ms" bigint NOT NULL,
	"created_by" text NOT NULL,
	"expires_at_ms" bigint,
	"spiffe_id" text,
	"dns_names" text,
	"redeemed_at_ms" bigint,
	"name" text,
	"role" text,
	"scope" text,
	"last_used_at_ms" bigint,
	"deleted_at_ms" bigint
);
--> statement-breakpoint
CREATE UNIQUE INDEX "certificates_serial_number" ON "certificates" USING btree ("serial_number");--> statement-breakpoint
CREATE UNIQUE INDEX "certificates_key_fingerprint" ON "certificates" USING btree ("key_fingerprint");--> statement-breakpoint
CREATE INDEX "certificates_spiffe_id" ON "certificates" USING btree ("spiffe_id" text_pattern_ops,"log_index");--> statement-breakpoint
CREATE INDEX "idempotency_keys_expires" ON "idempotency_keys" USING btree ("expires_at_ms");--> statement-breakpoint
CREATE UNIQUE INDEX "revocations_serial_number" ON "revocations" USING btree ("serial_number");--> statement-breakpoint
CREATE INDEX "tokens_created" ON "tokens" USING btree ("created_at_ms","id");