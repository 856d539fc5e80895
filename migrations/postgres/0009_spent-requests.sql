CREATE TABLE "spent_requests" (
	"spiffe_id" text NOT NULL,
	"nonce" text NOT NULL,
	"until_ms" bigint NOT NULL,
	CONSTRAINT "spent_requests_spiffe_id_nonce_pk" PRIMARY KEY("spiffe_id","nonce")
);
--> statement-breakpoint
CREATE INDEX "spent_requests_until" ON "spent_requests" USING btree ("until_ms");