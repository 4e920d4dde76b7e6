/** Completion in pipeline cells and files, for the completer that Lab opens with Tab. */

import type { CompletionHandler, ICompletionContext, ICompletionProvider } from "@jupyterlab/completer";
import type { IPoLive } from "../tokens.js";
import { linesOf, pipelineIn } from "./pipelineCell.js";
import { suggestions } from "./requests.js";

/** A longer text is not completed. */
const LONGEST = 100_000;

const mimeTypeOf = ({ editor }: ICompletionContext): string => editor?.model.mimeType ?? "";

export class PipelineCompletion implements ICompletionProvider {
  constructor(private readonly live: IPoLive) {}

  readonly identifier = "po-jupyter:pipeline";
  /** Above what the kernel and the words of the cell give, which have about 500. */
  readonly rank = 1000;
  readonly renderer = null;

  async isApplicable(context: ICompletionContext): Promise<boolean> {
    const text = context.editor?.model.sharedModel.getSource() ?? "";
    return text.length <= LONGEST && pipelineIn(linesOf(text), mimeTypeOf(context)) !== null;
  }

  async fetch(
    request: CompletionHandler.IRequest,
    context: ICompletionContext
  ): Promise<CompletionHandler.ICompletionItemsReply> {
    const { text, offset } = request;
    const cell = pipelineIn(linesOf(text), mimeTypeOf(context));
    const nothing = { start: offset, end: offset, items: [] };
    if (!cell || offset < cell.body) {
      return nothing; // the options of the magic are the kernel's to know
    }
    try {
      const api = await this.live.api();
      const body = { before: text.slice(cell.body, offset), after: text.slice(offset), name: cell.name };
      const found = await suggestions(api, body);
      return {
        start: offset - found.typed.length,
        end: offset,
        items: found.suggestions.map(suggestion => ({
          label: suggestion.label,
          insertText: suggestion.text,
          type: suggestion.kind,
          documentation: [suggestion.detail, suggestion.documentation].filter(Boolean).join("\n") || undefined
        }))
      };
    } catch {
      return nothing;
    }
  }
}
