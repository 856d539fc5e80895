PRAGMA foreign_keys=OFF;--> statement-breakpoint
CREATE TABLE `__new_authorities` (
	`id` text PRIMARY KEY NOT NULL,
	`type` text NOT NULL,
	`state` text NOT NULL,
	`certificate` blob NOT NULL,
	`key_kind` text DEFAULT 'sealed' NOT NULL,
	`sealed_private_key` blob,
	`key_reference` text,
	`parent_id` text,
	`cross_certificate` blob,
	`published_sequence` integer,
	`activate_at_ms` integer,
	`last_not_after_ms` integer,
	`state_since_ms` integer,
	`not_before_ms` integer NOT NULL,
	`not_after_ms` integer NOT NULL,
	`created_at_ms` integer NOT NULL
);
--> statement-breakpoint
INSERT INTO `__new_authorities`("id", "type", "state", "certificate", "sealed_private_key", "not_before_ms", "not_after_ms", "created_at_ms") SELECT "id", "type", "state", "certificate", "sealed_private_key", "not_before_ms", "not_after_ms", "created_at_ms" FROM `authorities`;--> statement-breakpoint
DROP TABLE `authorities`;--> statement-breakpoint
ALTER TABLE `__new_authorities` RENAME TO `authorities`;--> statement-breakpoint
PRAGMA foreign_keys=ON;