ALTER TABLE "authorities" ALTER COLUMN "sealed_private_key" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "key_kind" text DEFAULT 'sealed' NOT NULL;--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "key_reference" text;--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "parent_id" text;--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "cross_certificate" "bytea";--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "published_sequence" bigint;--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "activate_at_ms" bigint;--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "last_not_after_ms" bigint;--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "state_since_ms" bigint;