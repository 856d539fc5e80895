CREATE TABLE "ceremonies" (
	"id" text PRIMARY KEY NOT NULL,
	"request" text NOT NULL,
	"sealed_private_key" "bytea",
	"created_at_ms" bigint NOT NULL,
	"closed_at_ms" bigint
);
--> statement-breakpoint
ALTER TABLE "ca_state" ADD COLUMN "wrapped_sealing_key" text DEFAULT '' NOT NULL;