import { defineConfig } from "drizzle-kit";

export default defineConfig({ dialect: "sqlite", schema: "./ca/store/schema-sqlite.ts", out: "./migrations/sqlite" });
