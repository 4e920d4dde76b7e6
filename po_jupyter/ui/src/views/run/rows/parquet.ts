/** Rows of a map as Parquet, with a type for each column. Loaded when somebody wants such a file. */

import { parquetWriteBuffer } from "hyparquet-writer";
import type { BasicType } from "hyparquet-writer";
import type { Row } from "../shapes.js";
import { csvHeader, hasColumns, valueOf } from "./csv.js";

interface Column {
  name: string;
  type: BasicType;
  data: unknown[];
}

/** Numbers that rows have of themselves: of one type also where no row has one, as files of several runs are put together. */
const KNOWN = new Map<string, BasicType>([
  ["index", "INT64"],
  ["attempts", "INT64"],
  ["tokens", "INT64"],
  ["cost_usd", "DOUBLE"],
  ["seconds", "DOUBLE"]
]);

/** The same columns as the CSV has: what is neither a number nor true or false in all rows is text. */
export function columnsOf(rows: readonly Row[]): Column[] {
  const header = csvHeader(rows);
  const fields = hasColumns(header);
  return header.map(name => {
    const values = rows.map(row => valueOf(row, name, fields) ?? null);
    const type = typeOf(values, KNOWN.get(name));
    return { name, type, data: values.map(value => (value === null ? null : converted(value, type))) };
  });
}

export function parquetOf(rows: readonly Row[]): Blob {
  return new Blob([parquetWriteBuffer({ columnData: columnsOf(rows) })], { type: "application/vnd.apache.parquet" });
}

function typeOf(values: readonly unknown[], own?: BasicType): BasicType {
  const known = values.filter(value => value !== null);
  if (own && known.every(value => typeof value === "number" && (own === "DOUBLE" || Number.isSafeInteger(value)))) {
    return own;
  }
  if (known.length && known.every(value => typeof value === "boolean")) {
    return "BOOLEAN";
  }
  if (known.length && known.every(value => typeof value === "number")) {
    return known.every(Number.isSafeInteger) ? "INT64" : "DOUBLE";
  }
  return "STRING";
}

function converted(value: unknown, type: BasicType): unknown {
  if (type === "INT64") {
    return BigInt(value as number);
  }
  return type !== "STRING" || typeof value === "string" ? value : JSON.stringify(value);
}
