CREATE TABLE "documents" (
	"kind" text NOT NULL,
	"name" text NOT NULL,
	"body" text,
	"sequence" bigint NOT NULL,
	"changed_at_ms" bigint NOT NULL,
	"changed_by" text NOT NULL,
	CONSTRAINT "documents_kind_name_pk" PRIMARY KEY("kind","name")
);
--> statement-breakpoint
CREATE INDEX "documents_sequence" ON "documents" USING btree ("sequence");