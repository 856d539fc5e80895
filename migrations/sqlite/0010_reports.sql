CREATE TABLE `reports` (
	`kind` text NOT NULL,
	`name` text NOT NULL,
	`part` text NOT NULL,
	`body` text NOT NULL,
	`reported_at_ms` integer NOT NULL,
	`expires_at_ms` integer NOT NULL,
	PRIMARY KEY(`kind`, `name`, `part`)
);
--> statement-breakpoint
CREATE INDEX `reports_expires` ON `reports` (`expires_at_ms`);