CREATE TABLE `audit_checkpoints` (
	`size` integer PRIMARY KEY NOT NULL,
	`note` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `audit_entries` (
	`idx` integer PRIMARY KEY NOT NULL,
	`body` text NOT NULL,
	`leaf_hash` blob NOT NULL
);
--> statement-breakpoint
CREATE TABLE `audit_subtrees` (
	`level` integer NOT NULL,
	`idx` integer NOT NULL,
	`hash` blob NOT NULL,
	PRIMARY KEY(`level`, `idx`)
);
--> statement-breakpoint
CREATE TABLE `authorities` (
	`id` text PRIMARY KEY NOT NULL,
	`type` text NOT NULL,
	`state` text NOT NULL,
	`certificate` blob NOT NULL,
	`sealed_private_key` blob NOT NULL,
	`not_before_ms` integer NOT NULL,
	`not_after_ms` integer NOT NULL,
	`created_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `ca_state` (
	`id` integer PRIMARY KEY NOT NULL,
	`trust_domain` text NOT NULL,
	`bundle_sequence` integer NOT NULL,
	`log_verifier_key` text NOT NULL,
	`sealed_log_key` blob NOT NULL,
	`created_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `certificates` (
	`log_index` integer PRIMARY KEY NOT NULL,
	`serial_number` text NOT NULL,
	`spiffe_id` text NOT NULL,
	`dns_names` text,
	`not_before_ms` integer NOT NULL,
	`not_after_ms` integer NOT NULL,
	`authority_id` text NOT NULL,
	`attestation` text NOT NULL,
	`certificate` blob NOT NULL,
	`key_fingerprint` blob NOT NULL,
	`issued_at_ms` integer NOT NULL,
	`token_id` text,
	`renewed_from` text
);
--> statement-breakpoint
CREATE UNIQUE INDEX `certificates_serial_number` ON `certificates` (`serial_number`);--> statement-breakpoint
CREATE UNIQUE INDEX `certificates_key_fingerprint` ON `certificates` (`key_fingerprint`);--> statement-breakpoint
CREATE INDEX `certificates_spiffe_id` ON `certificates` (`spiffe_id`);--> statement-breakpoint
CREATE TABLE `idempotency_keys` (
	`scope` text NOT NULL,
	`key` text NOT NULL,
	`request_hash` text NOT NULL,
	`serial_number` text NOT NULL,
	`expires_at_ms` integer NOT NULL,
	PRIMARY KEY(`scope`, `key`)
);
--> statement-breakpoint
CREATE INDEX `idempotency_keys_expires` ON `idempotency_keys` (`expires_at_ms`);--> statement-breakpoint
CREATE TABLE `log_head` (
	`id` integer PRIMARY KEY NOT NULL,
	`size` integer NOT NULL,
	`hashes` blob NOT NULL
);
--> statement-breakpoint
CREATE TABLE `revocations` (
	`sequence` integer PRIMARY KEY NOT NULL,
	`serial_number` text NOT NULL,
	`reason` text NOT NULL,
	`revoked_at_ms` integer NOT NULL,
	`not_after_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `revocations_serial_number` ON `revocations` (`serial_number`);--> statement-breakpoint
CREATE TABLE `tokens` (
	`id` text PRIMARY KEY NOT NULL,
	`type` text NOT NULL,
	`secret_hash` blob NOT NULL,
	`version` integer NOT NULL,
	`created_at_ms` integer NOT NULL,
	`created_by` text NOT NULL,
	`expires_at_ms` integer,
	`spiffe_id` text,
	`dns_names` text,
	`redeemed_at_ms` integer,
	`name` text,
	`role` text,
	`scope` text,
	`last_used_at_ms` integer,
	`deleted_at_ms` integer
);
--> statement-breakpoint
CREATE INDEX `tokens_created` ON `tokens` (`created_at_ms`,`id`);