/** Runs in Lab itself: commands, launcher, menus, status bar, badge and notifications. */

import { ILabShell } from "@jupyterlab/application";
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette } from "@jupyterlab/apputils";
import { IDefaultFileBrowser } from "@jupyterlab/filebrowser";
import { ILauncher } from "@jupyterlab/launcher";
import { ISettingRegistry } from "@jupyterlab/settingregistry";
import { IStatusBar } from "@jupyterlab/statusbar";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import type { Run } from "../api/types.js";
import { runsIcon } from "../icon.js";
import { retriable } from "../live/retriable.js";
import { TRANSLATION_DOMAIN } from "../format/language.js";
import { commandIds, IPoLive } from "../tokens.js";
import type { LabActions } from "./actions.js";
import { StatusItem } from "./StatusItem.js";

const PANEL = "po-jupyter-runs";
/** Lumino makes it the attribute `data-po-waiting` of the tab. */
const BADGE = "po-waiting";
const RUNNABLE = /\.ya?ml$|[-.]seed\.json$/i;
const NO_ARGS = { args: { type: "object", properties: {} } } as const;

const commands: JupyterFrontEndPlugin<void> = {
  id: "po-jupyter:commands",
  description: "Commands for prompt runs in the palette, the launcher and the menus of files.",
  autoStart: true,
  requires: [IPoLive],
  optional: [ICommandPalette, ILauncher, IDefaultFileBrowser, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    live: IPoLive,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    files: IDefaultFileBrowser | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const category = trans.__("Prompt runs");
    const load = retriable(async () => new (await import("./actions.js")).LabActions(app, live, trans));
    const act = async (action: (actions: LabActions) => Promise<void>): Promise<void> => {
      const actions = await load();
      await actions.attempt(() => action(actions));
    };
    const selected = (): string | null => {
      const items = files ? [...files.selectedItems()] : [];
      return items.length === 1 && RUNNABLE.test(items[0]!.path) ? items[0]!.path : null;
    };
    app.commands.addCommand(commandIds.findRun, {
      label: trans.__("Open Prompt Run…"),
      describedBy: NO_ARGS,
      execute: () => act(actions => actions.findRun())
    });
    app.commands.addCommand(commandIds.newPipeline, {
      label: args => (args.isPalette ? trans.__("New Prompt Pipeline") : trans.__("Prompt Pipeline")),
      caption: trans.__("A file with a small pipeline to start from"),
      icon: runsIcon,
      describedBy: { args: { type: "object", properties: { cwd: { type: "string" }, isPalette: { type: "boolean" } } } },
      execute: args => act(actions => actions.newPipeline(String(args.cwd ?? files?.model.path ?? "")))
    });
    app.commands.addCommand(commandIds.cancelAll, {
      label: trans.__("Cancel All Prompt Runs…"),
      describedBy: NO_ARGS,
      execute: () => act(actions => actions.cancelAll())
    });
    app.commands.addCommand(commandIds.runFile, {
      label: trans.__("Run Prompt Pipeline…"),
      icon: runsIcon,
      isVisible: args => args.path !== undefined || selected() !== null,
      describedBy: { args: { type: "object", properties: { path: { type: "string" } } } },
      execute: args => {
        const path = args.path === undefined ? selected() : String(args.path);
        return path === null ? undefined : act(actions => actions.runFile(path));
      }
    });
    for (const command of [commandIds.findRun, commandIds.newPipeline, commandIds.cancelAll]) {
      palette?.addItem({ command, category, args: { isPalette: true } });
    }
    launcher?.add({ command: commandIds.newPipeline, category: trans.__("Other"), rank: 50 });
    app.contextMenu.addItem({
      command: commandIds.runFile,
      selector: '.jp-DirListing-item[data-isdir="false"]',
      rank: 3
    });
  }
};

const status: JupyterFrontEndPlugin<void> = {
  id: "po-jupyter:status",
  description: "Runs in the status bar, on the icon of the panel, and as notifications.",
  autoStart: true,
  requires: [IPoLive],
  optional: [ISettingRegistry, IStatusBar, ILabShell, ITranslator],
  activate: async (
    app: JupyterFrontEnd,
    live: IPoLive,
    registry: ISettingRegistry | null,
    statusBar: IStatusBar | null,
    shell: ILabShell | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const settings = (await registry?.load(status.id).catch(() => null)) ?? null;
    const setting = (name: string): unknown => settings?.composite[name];
    const item = new StatusItem(trans.__("Show prompt runs"), () => void app.commands.execute(commandIds.showRuns));
    const open = (run: Run | null): void =>
      void (run && app.commands.hasCommand(commandIds.openRun)
        ? app.commands.execute(commandIds.openRun, { run: run.id })
        : app.commands.execute(commandIds.showRuns));
    const notices = retriable(async () => new (await import("./systemNotices.js")).SystemNotices(trans, open));
    let system = setting("system") === true;
    settings?.changed.connect(() => {
      const before = system;
      system = setting("system") === true;
      if (system && !before) {
        void notices().then(found => found.ask());
      }
    });
    const begin = async (): Promise<void> => {
      const { Observer } = await import("./observer.js");
      statusBar?.registerStatusItem(status.id, {
        item,
        align: "left",
        rank: 20,
        isActive: () => setting("statusBar") !== false,
        activeStateChanged: settings?.changed
      });
      new Observer(live, trans, {
        show: (text, { waiting }) => {
          item.text = text;
          setBadge(shell, waiting);
        },
        open,
        announce: (message, run) => void (system && notices().then(found => found.tell(message, run))),
        wantsHidden: () => system,
        wants: kind => setting(kind === "end" ? "notifyEnd" : kind === "failure" ? "notifyFailure" : "notifyWait") !== false
      });
    };
    if (setting("watch") === "always") {
      void app.restored.then(begin);
    } else if (setting("watch") !== "never") {
      void live.firstWatch.then(begin);
    }
  }
};

/** The number of runs that wait for a person, on the icon of the side panel. */
function setBadge(shell: ILabShell | null, waiting: number): void {
  for (const widget of shell?.widgets("left") ?? []) {
    if (widget.id === PANEL) {
      const { [BADGE]: shown, ...others } = widget.title.dataset;
      const wanted = waiting ? String(waiting) : undefined;
      if (shown !== wanted) {
        widget.title.dataset = wanted ? { ...others, [BADGE]: wanted } : others;
      }
    }
  }
}

export const plugins: JupyterFrontEndPlugin<unknown>[] = [commands, status];
