/** The cell that helps: highlighting, underlined mistakes, help and completion in `%%po_pipeline` cells. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { EditorExtensionRegistry, IEditorExtensionRegistry } from "@jupyterlab/codemirror";
import { ICompletionProviderManager } from "@jupyterlab/completer";
import { IPoLive } from "../tokens.js";
import { PipelineCompletion } from "./completion.js";
import type { Loader } from "./extension.js";
import { pipelineCells } from "./extension.js";
import { pipelineIn } from "./pipelineCell.js";

const cells: JupyterFrontEndPlugin<void> = {
  id: "po-jupyter:pipeline-cells",
  description: "Highlights, checks and explains pipelines in cells and YAML files while they are written.",
  autoStart: true,
  requires: [IPoLive],
  optional: [IEditorExtensionRegistry],
  activate: (_: JupyterFrontEnd, live: IPoLive, extensions: IEditorExtensionRegistry | null) => {
    const load: Loader = async (read, isFile) => (await import("./help.js")).pipelineHelp(live, read, isFile);
    extensions?.addExtension({
      name: "po-jupyter:pipeline-cell",
      factory: ({ model }) =>
        EditorExtensionRegistry.createImmutableExtension(pipelineCells(text => pipelineIn(text, model.mimeType), load))
    });
  }
};

const completion: JupyterFrontEndPlugin<void> = {
  id: "po-jupyter:pipeline-completion",
  description: "Completes fields, models, tasks, names and filters of templates in pipeline cells and files.",
  autoStart: true,
  requires: [IPoLive],
  optional: [ICompletionProviderManager],
  activate: (_: JupyterFrontEnd, live: IPoLive, manager: ICompletionProviderManager | null) => {
    manager?.registerProvider(new PipelineCompletion(live));
  }
};

export const plugins: JupyterFrontEndPlugin<unknown>[] = [cells, completion];
