/** The side panel, and the command that shows it. */

import { ILayoutRestorer } from "@jupyterlab/application";
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette } from "@jupyterlab/apputils";
import { IStateDB } from "@jupyterlab/statedb";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import { runsIcon } from "../icon.js";
import { TRANSLATION_DOMAIN } from "../format/language.js";
import { commandIds, IPoLive } from "../tokens.js";
import { LazyPanel } from "./LazyPanel.js";

export const runsPanel: JupyterFrontEndPlugin<void> = {
  id: "po-jupyter:runs",
  description: "A side panel that shows prompt runs live.",
  autoStart: true,
  requires: [IPoLive],
  optional: [ICommandPalette, ILayoutRestorer, IStateDB, ITranslator],
  // Nothing here touches the network: the panel connects when it is first seen.
  activate: (
    app: JupyterFrontEnd,
    live: IPoLive,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    saved: IStateDB | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const panel = new LazyPanel(async () => {
      const [{ RunsPanel }, api] = await Promise.all([import("./RunsPanel.js"), live.api()]);
      return new RunsPanel({ api, services: app.serviceManager, live, saved, commands: app.commands, trans });
    }, trans);
    panel.id = "po-jupyter-runs";
    panel.title.icon = runsIcon;
    panel.title.caption = trans.__("Prompt runs");
    app.shell.add(panel, "left", { rank: 650, type: "Prompt runs" });
    restorer?.add(panel, panel.id);
    app.commands.addCommand(commandIds.showRuns, {
      label: trans.__("Show Prompt Runs"),
      icon: runsIcon,
      describedBy: { args: { type: "object", properties: {} } },
      execute: async () => {
        // Once a command was executed, Lab's palette gives the keyboard back to the main area. Ask for it after that.
        await Promise.resolve();
        app.shell.activateById(panel.id);
      }
    });
    palette?.addItem({ command: commandIds.showRuns, category: trans.__("Prompt runs") });
  }
};
