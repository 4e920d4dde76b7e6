/** The cell that helps: highlighting, underlined mistakes, help and completion in `%%po_pipeline` cells. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { EditorExtensionRegistry, IEditorExtensionRegistry } from "@jupyterlab/codemirror";
import { ICompletionProviderManager } from "@jupyterlab/completer";
import { IPoLive } from "../tokens.js";
import { PipelineCompletion } from "./completion.js";
import { pipelineCells } from "./extension.js";

const cells: JupyterFrontEndPlugin<void> = {
  id: "po-jupyter:pipeline-cells",
  description: "Highlights, checks and explains pipelines in cells while they are written.",
  autoStart: true,
  requires: [IPoLive],
  optional: [IEditorExtensionRegistry],
  activate: (_: JupyterFrontEnd, live: IPoLive, extensions: IEditorExtensionRegistry | null) => {
    const load = async () => (await import("./help.js")).pipelineHelp(live);
    extensions?.addExtension({
      name: "po-jupyter:pipeline-cell",
      factory: () => EditorExtensionRegistry.createImmutableExtension(pipelineCells(load))
    });
  }
};

const completion: JupyterFrontEndPlugin<void> = {
  id: "po-jupyter:pipeline-completion",
  description: "Completes fields, models, tasks and names of templates in pipeline cells.",
  autoStart: true,
  requires: [IPoLive],
  optional: [ICompletionProviderManager],
  activate: (_: JupyterFrontEnd, live: IPoLive, manager: ICompletionProviderManager | null) => {
    manager?.registerProvider(new PipelineCompletion(live));
  }
};

export const plugins: JupyterFrontEndPlugin<unknown>[] = [cells, completion];
