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

export async function openRunPage(lab: Lab, address: Address): Promise<RunPageWidget> {
  const { app, live, tracker, trans } = lab;
  const open = tracker.find(widget => widget.run === address.run);
  if (open) {
    open.patch(patchOf(address));
    app.shell.activateById(open.id);
    return open;
  }
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
