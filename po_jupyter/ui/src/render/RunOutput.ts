/** The place of a run in a cell's output. What it shows is loaded with the first one. */

import type { IRenderMime } from "@jupyterlab/rendermime-interfaces";
import { Panel } from "@lumino/widgets";
import { retriable } from "../live/retriable.js";
import type { OutputModel } from "./following.js";
import type { OutputServices, OutputView } from "./OutputView.js";

export class RunOutput extends Panel implements IRenderMime.IRenderer {
  constructor(private readonly services: OutputServices) {
    super();
    this.addClass("po-RunOutput");
  }

  /** Lab calls it again for the same widget when the output changes, which keeps what is selected in it. */
  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const view = await this.view();
    if (!this.isDisposed) {
      view.draw(model as OutputModel);
    }
  }

  private readonly view = retriable(async (): Promise<OutputView> => {
    const [{ OutputView }, api] = await Promise.all([import("./OutputView.js"), this.services.live.api()]);
    const view = new OutputView(api, this.services);
    if (this.isDisposed) {
      view.dispose();
    } else {
      this.addWidget(view);
    }
    return view;
  });
}
