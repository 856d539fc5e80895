import { getTableColumns, getTableName, sql, type SQL } from "drizzle-orm";
import { PgDialect, type PgColumn, type PgTable } from "drizzle-orm/pg-core";
import type pg from "pg";

/** A query to send. */
export type Query = pg.QueryConfig;

/**
 * A prepared statement: drizzle renders it from the schema when it is first used, Postgres parses it once on each connection.
 * @returns a function that makes a query of the values, given in the order of the placeholders
 */
export function statement(name: string, template: SQL): (...values: readonly unknown[]) => Query {
  let text: string | undefined;
  return (...values) => ({ name, text: (text ??= dialect.sqlToQuery(template).sql), values: [...values] });
}

/**
 * Inserts any number of rows by one statement: each column goes in as one array, so its text is always the same.
 * @param onConflict  ends the statement
 * @returns a function that makes no query of no rows and one of all others
 */
export function insertion<Table extends PgTable>(table: Table, onConflict = sql``): (rows: readonly Table["$inferSelect"][]) => readonly Query[] {
  const columns = Object.entries<PgColumn>(getTableColumns(table));
  let insert: ReturnType<typeof statement> | undefined;

  function prepare(): ReturnType<typeof statement> {
    const names = columns.map(([, column]) => bare(column));
    const arrays = columns.map(([property, column]) => sql`${value(property)}::${sql.raw(column.getSQLType())}[]`);
    return statement(
      `insert-${getTableName(table)}`,
      sql`insert into ${table} (${sql.join(names, sql`, `)}) select * from unnest(${sql.join(arrays, sql`, `)})${onConflict}`,
    );
  }

  return (rows) => rows.length === 0 ? [] : [(insert ??= prepare())(...columns.map(([property]) => rows.map((row) => row[property as keyof typeof row])))];
}

/** A value given when the statement is run. */
export function value(name: string): SQL {
  return sql`${sql.placeholder(name)}`;
}

/** A column's name without its table's: what may stand on the left of an assignment. */
export function bare(column: PgColumn): SQL {
  return sql`${sql.identifier(column.name)}`;
}

const dialect = new PgDialect();
