CREATE TABLE `crls` (
	`authority_id` text NOT NULL,
	`list` text NOT NULL,
	`number` integer NOT NULL,
	`this_update_ms` integer NOT NULL,
	`next_update_ms` integer NOT NULL,
	`sequence` integer NOT NULL,
	`dropped_sequence` integer NOT NULL,
	`dropped_before_ms` integer NOT NULL,
	`fingerprint` text NOT NULL,
	`signature` blob NOT NULL,
	`crl` blob,
	PRIMARY KEY(`authority_id`, `list`)
);
--> statement-breakpoint
ALTER TABLE `revocations` ADD `authority_id` text DEFAULT '' NOT NULL;--> statement-breakpoint
UPDATE `revocations` SET `authority_id` = coalesce((SELECT `authority_id` FROM `certificates` WHERE `certificates`.`serial_number` = `revocations`.`serial_number`), '');
