CREATE TABLE "reports" (
	"kind" text NOT NULL,
	"name" text NOT NULL,
	"part" text NOT NULL,
	"body" text NOT NULL,
	"reported_at_ms" bigint NOT NULL,
	"expires_at_ms" bigint NOT NULL,
	CONSTRAINT "reports_kind_name_part_pk" PRIMARY KEY("kind","name","part")
);
--> statement-breakpoint
CREATE INDEX "reports_expires" ON "reports" USING btree ("expires_at_ms");