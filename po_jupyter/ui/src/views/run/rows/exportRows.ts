/** All rows that a question matches as one file. */

import { language } from "../../../format/language.js";
import type { Row, RowQuery } from "../shapes.js";
import type { RunSource } from "../source.js";
import { csvHead, csvHeader, csvLine } from "./csv.js";

export type RowFormat = "csv" | "parquet";

const PAGE = 500;
/** Whole rows that are asked for at the same time. */
const PARALLEL = 4;

/** Pages one after the other; rows of which a page has only the beginning are asked for in whole. */
export async function exportRows(
  source: RunSource,
  query: RowQuery,
  progress: (rows: number) => void,
  signal?: AbortSignal,
  format: RowFormat = "csv"
): Promise<Blob> {
  const rows: Row[] = [];
  for (let start: number | null = 0; start !== null; ) {
    const page = await source.rows(query, start, PAGE, signal);
    if (!page.complete) {
      throw new Error(
        language.trans.__("The server does not come to the end of these rows. Try again when the run has ended, or save all of them.")
      );
    }
    const whole: Row[] = await inParallel(page.rows, row =>
      row.clipped ? source.row(query.task, row.index, signal) : Promise.resolve(row)
    );
    signal?.throwIfAborted();
    rows.push(...whole);
    progress(rows.length);
    start = page.rows.length ? page.next : null;
  }
  if (format === "parquet") {
    return (await import(/* webpackChunkName: "po-parquet" */ "./parquet.js")).parquetOf(rows);
  }
  const header = csvHeader(rows);
  // A byte order mark: without it some spreadsheets read UTF-8 as something else.
  return new Blob(["\ufeff", csvHead(header), ...rows.map(row => csvLine(row, header))], { type: "text/csv" });
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<T>): Promise<T[]> {
  const results = [...items];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let at = next++; at < items.length; at = next++) {
      results[at] = await work(items[at]!);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  return results;
}
