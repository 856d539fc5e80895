CREATE TABLE "announcements" (
	"sequence" bigint PRIMARY KEY NOT NULL,
	"body" text NOT NULL,
	"expires_at_ms" bigint NOT NULL
);
--> statement-breakpoint
ALTER TABLE "ca_state" ADD COLUMN "feed_epoch" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "certificates" ADD COLUMN "acknowledged_sequence" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX "certificates_not_after" ON "certificates" USING btree ("not_after_ms","acknowledged_sequence");