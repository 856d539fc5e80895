CREATE TABLE `announcements` (
	`sequence` integer PRIMARY KEY NOT NULL,
	`body` text NOT NULL,
	`expires_at_ms` integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE `ca_state` ADD `feed_epoch` text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE `certificates` ADD `acknowledged_sequence` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX `certificates_not_after` ON `certificates` (`not_after_ms`,`acknowledged_sequence`);