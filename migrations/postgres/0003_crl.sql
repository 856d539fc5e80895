CREATE TABLE "crls" (
	"authority_id" text NOT NULL,
	"list" text NOT NULL,
	"number" bigint NOT NULL,
	"this_update_ms" bigint NOT NULL,
	"next_update_ms" bigint NOT NULL,
	"sequence" bigint NOT NULL,
	"dropped_sequence" bigint NOT NULL,
	"dropped_before_ms" bigint NOT NULL,
	"fingerprint" text NOT NULL,
	"signature" "bytea" NOT NULL,
	"crl" "bytea",
	CONSTRAINT "crls_authority_id_list_pk" PRIMARY KEY("authority_id","list")
);
--> statement-breakpoint
ALTER TABLE "revocations" ADD COLUMN "authority_id" text DEFAULT '' NOT NULL;--> statement-breakpoint
UPDATE "revocations" SET "authority_id" = "certificates"."authority_id" FROM "certificates" WHERE "certificates"."serial_number" = "revocations"."serial_number";
