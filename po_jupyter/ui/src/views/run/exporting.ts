/** A run as files: its outputs, the rows of a map, its history. */

import { InputDialog } from "@jupyterlab/apputils";
import { hasEnded } from "../../api/types.js";
import type { Page } from "./context.js";
import { download } from "./parts.js";
import { exportRows } from "./rows/exportRows.js";

/** Asks which, and saves it. */
export async function exportDialog(page: Page): Promise<null> {
  const { run, trans } = page;
  const choices = new Map<string, () => Promise<void>>([
    [trans.__("Outputs (JSON)"), async () => download(await page.source.outputs(), `${fileName(page)}-outputs.json`)]
  ]);
  for (const task of run.tasks.filter(one => one.items)) {
    choices.set(trans.__("Rows of %1 (CSV)", task.name), () => rowsOf(page, task.name));
  }
  choices.set(hasEnded(run) ? trans.__("History (JSON lines)") : trans.__("History so far (JSON lines)"), () => history(page));
  const answer = await InputDialog.getItem({
    title: trans.__("Export %1", run.name),
    label: trans.__("What?"),
    items: [...choices.keys()],
    okLabel: trans.__("Save")
  });
  if (answer.button.accept && answer.value !== null) {
    await choices.get(answer.value)?.();
  }
  return null;
}

async function rowsOf(page: Page, task: string): Promise<void> {
  const query = { task, state: "", q: "", sort: "index", desc: false } as const;
  download(await exportRows(page.source, query, () => undefined), `${fileName(page)}-${task}.csv`);
}

async function history({ source, run }: Page): Promise<void> {
  const lines: string[] = [];
  for (let since = 0; ; ) {
    const events = (await source.events(since)) as { offset: number }[];
    lines.push(...events.map(event => JSON.stringify(event) + "\n"));
    const last = events[events.length - 1];
    if (!last || last.offset >= run.last_event) {
      break;
    }
    since = last.offset;
  }
  download(new Blob(lines, { type: "application/x-ndjson" }), `${run.pipeline}-${run.id.slice(-6)}-events.jsonl`);
}

function fileName({ run }: Page): string {
  return `${run.pipeline}-${run.id.slice(-6)}`;
}
