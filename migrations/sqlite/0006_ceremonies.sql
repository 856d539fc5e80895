CREATE TABLE `ceremonies` (
	`id` text PRIMARY KEY NOT NULL,
	`request` text NOT NULL,
	`sealed_private_key` blob,
	`created_at_ms` integer NOT NULL,
	`closed_at_ms` integer
);
--> statement-breakpoint
ALTER TABLE `ca_state` ADD `wrapped_sealing_key` text DEFAULT '' NOT NULL;