/** Opens the page of a run, or shows the one that is open. Loaded with the first page. */

import type { ILabShell, JupyterFrontEnd } from "@jupyterlab/application";
import type { WidgetTracker } from "@jupyterlab/apputils";
import type { IStateDB } from "@jupyterlab/statedb";
import type { TranslationBundle } from "@jupyterlab/translation";
import { commandIds } from "../../tokens.js";
import type { IPoLive } from "../../tokens.js";
import { linkTo } from "./address.js";
import type { Address } from "./address.js";
import type { Host } from "./context.js";
import { DRIVE, RunFiles } from "./files/drive.js";
import { Memory } from "./memory.js";
import { FRESH, patched } from "./pageState.js";
import type { Patch } from "./pageState.js";
import { RunPageWidget } from "./RunPageWidget.js";
import { RunSource } from "./source.js";

export interface Lab {
  app: JupyterFrontEnd<JupyterFrontEnd.IShell | ILabShell>;
  live: IPoLive;
  tracker: WidgetTracker<RunPageWidget>;
  saved: IStateDB | null;
  trans: TranslationBundle;
}

let memory: Memory | null = null;
let drive: RunFiles | null = null;

/** Pages that are being opened, by the id of their run: a double click must not open two. */
const opening = new Map<string, Promise<RunPageWidget>>();

export async function openRunPage(lab: Lab, asked: Address): Promise<RunPageWidget> {
  const address = { ...asked, run: await wholeId(lab, asked.run) };
  const known = lab.tracker.find(widget => widget.shows(address.run)) ?? opening.get(address.run);
  if (known) {
    const open = await known;
    open.patch(patchOf(address));
    lab.app.shell.activateById(open.id);
    return open;
  }
  const page = newPage(lab, address);
  opening.set(address.run, page);
  try {
    return await page;
  } finally {
    opening.delete(address.run);
  }
}

/** Digits of a run's id. */
const WHOLE = 22;

/** The id of a run that is named by the end of it: the same run has one page. What the server does not know stays. */
async function wholeId({ live }: Lab, run: string): Promise<string> {
  if (run.length >= WHOLE) {
    return run;
  }
  try {
    return (await new RunSource(await live.api(), run).brief()).id;
  } catch {
    return run; // the page says why
  }
}

async function newPage(lab: Lab, address: Address): Promise<RunPageWidget> {
  const { app, live, tracker, trans } = lab;
  memory ??= new Memory(lab.saved);
  const [api, remembered] = await Promise.all([live.api(), memory.recall(address.run)]);
  const widget = new RunPageWidget({
    source: new RunSource(api, address.run),
    live,
    memory,
    state: patched(remembered ?? FRESH, patchOf(address)),
    host: hostOf(lab, address.run, memory, () => widget.close()),
    trans
  });
  app.shell.add(widget, "main", { type: "Prompt run" });
  await tracker.add(widget);
  app.shell.activateById(widget.id);
  return widget;
}

function patchOf({ tab, task, row }: Address): Patch {
  return {
    ...(tab ? { tab } : {}),
    ...(task ? { task } : {}),
    ...(row === undefined ? {} : { tab: tab ?? "rows", rows: { open: row } })
  };
}

function hostOf({ app, live }: Lab, run: string, pages: Memory, close: () => void): Host {
  const { contents, serverSettings } = app.serviceManager;
  return {
    openFile: (id, name) => {
      if (!drive) {
        drive = new RunFiles(live, serverSettings);
        contents.addDrive(drive);
      }
      void app.commands.execute("docmanager:open", { path: `${DRIVE}:${id}/${name}` });
    },
    openRun: id => void app.commands.execute(commandIds.openRun, { run: id }),
    link: state => {
      const row = state.tab === "rows" && state.rows.open !== null ? { row: state.rows.open } : {};
      const task = state.task ? { task: state.task } : {};
      return linkTo(new URL(serverSettings.baseUrl, location.href).href, { run, tab: state.tab, ...task, ...row });
    },
    deleted: () => {
      pages.forget(run);
      close();
    }
  };
}
