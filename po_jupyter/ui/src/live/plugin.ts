/** Offers the live feed to all that show runs. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { IPoLive } from "../tokens.js";
import { LazyLive } from "./lazy.js";

export const live: JupyterFrontEndPlugin<IPoLive> = {
  id: "po-jupyter:live",
  description: "The one stream of runs that a browser tab has, and the orchestrator's HTTP.",
  autoStart: true,
  provides: IPoLive,
  activate: (app: JupyterFrontEnd) => new LazyLive(app.serviceManager.serverSettings)
};
