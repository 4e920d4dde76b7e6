import { ILayoutRestorer } from "@jupyterlab/application";
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette } from "@jupyterlab/apputils";
import { IStateDB } from "@jupyterlab/statedb";
import { Api } from "./api/client.js";
import { runsIcon } from "./icon.js";
import { RunsPanel } from "./panel/RunsPanel.js";

const SHOW = "po-jupyter:show-runs";

const plugin: JupyterFrontEndPlugin<void> = {
  id: "po-jupyter:runs",
  description: "A side panel that shows prompt runs live.",
  autoStart: true,
  optional: [ICommandPalette, ILayoutRestorer, IStateDB],
  // Nothing here touches the network: the panel connects when it is first seen.
  activate: (
    app: JupyterFrontEnd,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    saved: IStateDB | null
  ) => {
    const panel = new RunsPanel(new Api(app.serviceManager.serverSettings), saved);
    panel.id = "po-jupyter-runs";
    panel.title.icon = runsIcon;
    panel.title.caption = "Prompt runs";
    app.shell.add(panel, "left", { rank: 650, type: "Prompt runs" });
    restorer?.add(panel, panel.id);
    app.commands.addCommand(SHOW, {
      label: "Show Prompt Runs",
      icon: runsIcon,
      describedBy: { args: { type: "object", properties: {} } },
      execute: () => app.shell.activateById(panel.id)
    });
    palette?.addItem({ command: SHOW, category: "Prompt runs" });
  }
};

export default plugin;
