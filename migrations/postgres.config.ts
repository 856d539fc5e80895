import { defineConfig } from "drizzle-kit";

export default defineConfig({ dialect: "postgresql", schema: "./ca/store/schema-postgres.ts", out: "./migrations/postgres" });
