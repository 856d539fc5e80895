CREATE TABLE "acme_records" (
	"id" text PRIMARY KEY NOT NULL,
	"version" bigint NOT NULL,
	"body" text NOT NULL,
	"until_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE INDEX "acme_records_until" ON "acme_records" USING btree ("until_ms");