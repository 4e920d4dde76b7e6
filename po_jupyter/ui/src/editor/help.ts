/** What a pipeline has beyond other cells and files: its language, the checks of a run, and help on its keys. */

import { indentUnit } from "@codemirror/language";
import type { Diagnostic } from "@codemirror/lint";
import { linter, setDiagnostics } from "@codemirror/lint";
import type { Extension } from "@codemirror/state";
import { Prec } from "@codemirror/state";
import type { Tooltip, ViewUpdate } from "@codemirror/view";
import { EditorView, hoverTooltip, tooltips, ViewPlugin } from "@codemirror/view";
import type { IPoLive } from "../tokens.js";
import { Checks, LONGEST } from "./checks.js";
import type { Reader } from "./extension.js";
import { pipelineFileLanguage, pipelineLanguage } from "./language.js";
import type { Underline } from "./positions.js";
import type { KeyHelp } from "./requests.js";
import { keyHelp, mistakes } from "./requests.js";

/** The extensions of a pipeline, which `read` finds. Nothing is asked before its editor has the focus or is changed. */
export function pipelineHelp(live: IPoLive, read: Reader, isFile = false): Extension {
  return [
    // The editor's own language stays below, for the moment when it is no pipeline any more.
    Prec.highest([isFile ? pipelineFileLanguage.extension : pipelineLanguage.extension, indentUnit.of("  ")]),
    // Cells cut off what is larger than they are.
    tooltips({ parent: document.body, position: "fixed" }),
    linter(null),
    ViewPlugin.define(view => new CheckedCell(view, live, read)),
    // CodeMirror passes over a change of size within 75 ms of an update, as when a notebook is being laid out: with lines
    // that are not wrapped any more, the mouse would then point at another line than people see.
    EditorView.domEventHandlers({ mouseenter: (_event, view) => view.requestMeasure() }),
    hoverTooltip((view, position) => help(view, position, live, read))
  ];
}

class CheckedCell {
  constructor(
    private readonly view: EditorView,
    live: IPoLive,
    read: Reader
  ) {
    this.checks = new Checks(
      async (text, signal) => mistakes(await live.api(), text, signal),
      found => this.show(found),
      read
    );
    if (view.hasFocus) {
      this.begin();
    }
  }

  update(update: ViewUpdate): void {
    if (update.docChanged || (update.focusChanged && update.view.hasFocus && !this.begun)) {
      this.begin();
    }
  }

  destroy(): void {
    this.ended = true;
    this.checks.stop();
  }

  private begin(): void {
    this.begun = true;
    this.checks.changed(this.view.state.doc);
  }

  private show(found: Underline[]): void {
    if (!this.ended) {
      const diagnostics = found.map((mistake): Diagnostic => ({ ...mistake, severity: "error" }));
      diagnostics.sort((a, b) => a.from - b.from);
      this.view.dispatch(setDiagnostics(this.view.state, diagnostics));
    }
  }

  private readonly checks: Checks;
  private begun = false;
  private ended = false;
}

async function help(view: EditorView, position: number, live: IPoLive, read: Reader): Promise<Tooltip | null> {
  const cell = read(view.state.doc);
  if (!cell || position < cell.body || view.state.doc.length > LONGEST) {
    return null;
  }
  const before = view.state.sliceDoc(cell.body, position);
  const found = await live
    .api()
    .then(api => keyHelp(api, { before, after: view.state.sliceDoc(position) }))
    .catch(() => null);
  return found && tooltip(found, position);
}

function tooltip(found: KeyHelp, position: number): Tooltip {
  return {
    pos: position - found.before,
    end: position + found.after,
    above: true,
    create: () => {
      const dom = document.createElement("div");
      dom.className = "po-KeyHelp";
      const title = dom.appendChild(document.createElement("div"));
      title.className = "po-KeyHelp-title";
      title.textContent = found.title;
      const text = dom.appendChild(document.createElement("div"));
      // `names` stand in backticks, so every second part is one.
      found.documentation.split("`").forEach((part, index) => {
        text.appendChild(document.createElement(index % 2 ? "code" : "span")).textContent = part;
      });
      return { dom };
    }
  };
}
