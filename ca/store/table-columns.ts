import { getTableColumns, getTableName, is, Table, type Column } from "drizzle-orm";
import type { Row } from "./table-copy.ts";

/** A table as its columns, in one order. */
export interface TableColumns<T extends Table> {
  readonly table: T;
  readonly name: string;
  /** Quoted, in order. */
  readonly select: string;
  /** What a driver gave, in the same order, as values by property. */
  fromDriver(values: readonly unknown[]): Row;
  /** What a driver takes, in the same order. */
  toDriver(row: Row): readonly unknown[];
}

/** Every table of a schema, by name: one that is added to the schema is added here by that. */
export function tablesOf<T extends Table>(schema: Readonly<Record<string, unknown>>): ReadonlyMap<string, TableColumns<T>> {
  const tables = Object.values(schema).filter((each): each is T => is(each, Table));
  return new Map(tables.map((table) => [getTableName(table), columnsOf(table)]));
}

function columnsOf<T extends Table>(table: T): TableColumns<T> {
  const columns = Object.entries<Column>(getTableColumns(table));
  return {
    table,
    name: getTableName(table),
    select: columns.map(([, { name }]) => `"${name}"`).join(", "),
    fromDriver: (values) => Object.fromEntries(columns.map(([property, column], index) => {
      const value = values[index];
      return [property, value === null ? null : column.mapFromDriverValue(value)];
    })),
    toDriver: (row) => columns.map(([property, column]) => {
      const value = row[property] ?? null;
      return value === null ? null : column.mapToDriverValue(value);
    }),
  };
}
