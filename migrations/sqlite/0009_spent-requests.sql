CREATE TABLE `spent_requests` (
	`spiffe_id` text NOT NULL,
	`nonce` text NOT NULL,
	`until_ms` integer NOT NULL,
	PRIMARY KEY(`spiffe_id`, `nonce`)
);
--> statement-breakpoint
CREATE INDEX `spent_requests_until` ON `spent_requests` (`until_ms`);