/** A run as files: its outputs, the rows of a map, its history. */

import { hasEnded } from "../../api/types.js";
import type { Page } from "./context.js";
import { exportRows } from "./rows/exportRows.js";
import type { RowFormat } from "./rows/exportRows.js";
import type { Fetching, SavedFile, Saving } from "./saving.js";
import { chooseItem } from "../../components/dialogs.js";

/** Asks which, and begins to save it: nothing else waits until it is here. */
export async function exportDialog(page: Page, save: Saving["save"]): Promise<null> {
  const { run, trans } = page;
  const choices = new Map<string, Fetching>([
    [trans.__("Outputs (JSON)"), async signal => ({ content: await page.source.outputs(signal), name: `${fileName(page)}-outputs.json` })]
  ]);
  for (const task of run.tasks.filter(one => one.items)) {
    choices.set(trans.__("Rows of %1 (CSV)", task.name), signal => rowsOf(page, task.name, "csv", signal));
    choices.set(trans.__("Rows of %1 (Parquet)", task.name), signal => rowsOf(page, task.name, "parquet", signal));
  }
  choices.set(hasEnded(run) ? trans.__("History (JSON lines)") : trans.__("History so far (JSON lines)"), signal => history(page, signal));
  const answer = await chooseItem({
    title: trans.__("Export %1", run.name),
    label: trans.__("What?"),
    items: [...choices.keys()],
    okLabel: trans.__("Save")
  });
  const fetching = answer.button.accept && answer.value !== null ? choices.get(answer.value) : undefined;
  if (fetching) {
    save(`export ${answer.value}`, fetching);
  }
  return null;
}

async function rowsOf(page: Page, task: string, format: RowFormat, signal: AbortSignal): Promise<SavedFile> {
  const query = { task, state: "", variant: "", q: "", sort: "index", desc: false } as const;
  return { content: await exportRows(page.source, query, () => undefined, signal, format), name: `${fileName(page)}-${task}.${format}` };
}

async function history({ source, run }: Page, signal: AbortSignal): Promise<SavedFile> {
  const lines: string[] = [];
  for (let since = 0; ; ) {
    const events = (await source.events(since, signal)) as { offset: number }[];
    lines.push(...events.map(event => JSON.stringify(event) + "\n"));
    const last = events[events.length - 1];
    if (!last || last.offset >= run.last_event) {
      break;
    }
    since = last.offset;
  }
  const name = `${run.pipeline}-${run.id.slice(-6)}-events.jsonl`;
  return { content: new Blob(lines, { type: "application/x-ndjson" }), name };
}

function fileName({ run }: Page): string {
  return `${run.pipeline}-${run.id.slice(-6)}`;
}
