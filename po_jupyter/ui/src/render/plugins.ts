/** The renderer of runs in the outputs of cells. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { IRenderMimeRegistry } from "@jupyterlab/rendermime";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import { TRANSLATION_DOMAIN } from "../format/language.js";
import { IPoLive } from "../tokens.js";
import { RunOutput } from "./RunOutput.js";

/** Before the view of ipywidgets (-10), which is empty without its kernel. */
const RANK = -20;

const renderer: JupyterFrontEndPlugin<void> = {
  id: "po-jupyter:renderer",
  description: "Shows prompt runs in the outputs of cells, live and without their kernel.",
  autoStart: true,
  requires: [IPoLive, IRenderMimeRegistry],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    live: IPoLive,
    registry: IRenderMimeRegistry,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    registry.addFactory({
      // It shows text and asks only our own server, and that only for a notebook that is trusted.
      safe: true,
      mimeTypes: ["application/vnd.po-jupyter.run+json"],
      defaultRank: RANK,
      createRenderer: () => new RunOutput({ live, commands: app.commands, trans })
    });
  }
};

export const plugins: JupyterFrontEndPlugin<unknown>[] = [renderer];
