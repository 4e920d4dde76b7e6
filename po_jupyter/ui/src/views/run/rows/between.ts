/** The rows between two places of a list, with those asked for that are not here yet. */

import type { Row, RowPage } from "../shapes.js";

export async function between(
  first: number,
  last: number,
  at: (place: number) => Row | undefined,
  load: (start: number) => Promise<RowPage>
): Promise<Row[]> {
  const rows: Row[] = [];
  for (let place = first; place <= last; ) {
    const row = at(place);
    if (row) {
      rows.push(row);
      place += 1;
      continue;
    }
    const page = await load(place);
    rows.push(...page.rows.slice(0, last - place + 1));
    if (!page.rows.length) {
      break;
    }
    place += page.rows.length;
  }
  return rows;
}
