/** Offers the live feed to all that show runs. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ITranslator } from "@jupyterlab/translation";
import { language, TRANSLATION_DOMAIN } from "../format/language.js";
import { IPoLive } from "../tokens.js";
import { LazyLive } from "./lazy.js";

export const live: JupyterFrontEndPlugin<IPoLive> = {
  id: "po-jupyter:live",
  description: "The one stream of runs that a browser tab has, and the orchestrator's HTTP.",
  autoStart: true,
  provides: IPoLive,
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, translator: ITranslator | null) => {
    if (translator) {
      language.trans = translator.load(TRANSLATION_DOMAIN);
    }
    return new LazyLive(app.serviceManager.serverSettings);
  }
};
