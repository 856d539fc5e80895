CREATE TABLE `documents` (
	`kind` text NOT NULL,
	`name` text NOT NULL,
	`body` text,
	`sequence` integer NOT NULL,
	`changed_at_ms` integer NOT NULL,
	`changed_by` text NOT NULL,
	PRIMARY KEY(`kind`, `name`)
);
--> statement-breakpoint
CREATE INDEX `documents_sequence` ON `documents` (`sequence`);