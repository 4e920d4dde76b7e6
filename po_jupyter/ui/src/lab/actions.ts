/** What the commands do; loaded when one is used. */

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { Dialog, InputDialog, Notification, showDialog } from "@jupyterlab/apputils";
import { PathExt } from "@jupyterlab/coreutils";
import type { TranslationBundle } from "@jupyterlab/translation";
import { Widget } from "@lumino/widgets";
import type { Run } from "../api/types.js";
import { explain } from "../api/errors.js";
import { StartKey } from "../api/startKey.js";
import { confirm } from "../components/dialogs.js";
import { shortId } from "../format/run.js";
import type { IPoLive } from "../tokens.js";
import { commandIds } from "../tokens.js";

const NEW_PIPELINE = `name: hello
llm: {model: "local:smollm2-135m", max_tokens: 200}
tasks:
  - name: greet
    prompt: "Greet {{ seed.name }}."
`;
/** Runs that are looked through for one, or cancelled at once. */
const MOST_RUNS = 200;

export class LabActions {
  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly live: IPoLive,
    private readonly trans: TranslationBundle
  ) {}

  /** Open one of the newest runs, or the one with the id that is typed. */
  async findRun(): Promise<void> {
    const api = await this.live.api();
    const { runs } = await api.runs({ limit: MOST_RUNS });
    const labels = runs.map(run => `${shortId(run.id)} · ${run.pipeline} · ${run.state}`);
    const answer = await InputDialog.getItem({
      title: this.trans.__("Open a Prompt Run"),
      label: this.trans.__("A run, or its id:"),
      items: labels,
      editable: true
    });
    const typed = answer.value?.trim();
    if (answer.button.accept && typed) {
      await this.open(runs[labels.indexOf(typed)] ?? (await api.run(typed)));
    }
  }

  /** A file with a small pipeline in `folder`, opened. */
  async newPipeline(folder: string): Promise<void> {
    const { contents } = this.app.serviceManager;
    const model = await contents.newUntitled({ path: folder, type: "file", ext: ".yaml" });
    await contents.save(model.path, { type: "file", format: "text", content: NEW_PIPELINE });
    await this.app.commands.execute("docmanager:open", { path: model.path });
  }

  /** Start a run of a pipeline file, or from a seed file, after asking for what is missing. */
  async runFile(path: string): Promise<void> {
    const { content } = await this.app.serviceManager.contents.get(path, { type: "file", format: "text", content: true });
    const text = String(content);
    const body = path.endsWith(".json") ? { seed: parsed(text) } : await this.withSeed(path, text);
    if (body) {
      const run = await (await this.live.api()).submit(this.startKey.of(body));
      this.startKey.done();
      await this.open(run);
    }
  }

  /** Cancel all runs that go on, after asking. */
  async cancelAll(): Promise<void> {
    const api = await this.live.api();
    const { runs } = await api.runs({ state: "pending,running,waiting", limit: MOST_RUNS });
    if (!runs.length) {
      Notification.info(this.trans.__("No run goes on."), { autoClose: 3000 });
      return;
    }
    const accepted = await confirm({
      title: this.trans._n("Cancel %1 run?", "Cancel %1 runs?", runs.length),
      body: this.trans.__("What they have finished is kept, and each can be resumed."),
      word: this.trans.__("Cancel Runs")
    });
    if (accepted) {
      const ends = await Promise.allSettled(runs.map(run => api.cancel(run.id)));
      const failed = ends.filter(end => end.status === "rejected").length;
      if (failed) {
        Notification.error(this.trans._n("%1 run was not cancelled", "%1 runs were not cancelled", failed));
      }
    }
  }

  /** Do it, and tell what was wrong. */
  async attempt(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      const { message, hint } = error instanceof SyntaxError ? { message: error.message, hint: "" } : explain(error);
      await showDialog({ title: message, body: hint ?? "", buttons: [Dialog.okButton()] });
    }
  }

  private async withSeed(path: string, pipeline: string): Promise<{ pipeline: string; seed: object } | null> {
    const answer = await showDialog({
      title: this.trans.__("Run %1", PathExt.basename(path)),
      body: new SeedForm(this.trans),
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: this.trans.__("Run") })],
      focusNodeSelector: "textarea"
    });
    const data = answer.value?.trim() || "{}";
    const name = PathExt.basename(path, PathExt.extname(path)).slice(0, 100) || "seed";
    // Text of one line would be taken for the name of a registered pipeline.
    return answer.button.accept ? { pipeline: `${pipeline}\n`, seed: { name, data: parsed(data) } } : null;
  }

  private readonly startKey = new StartKey();

  private async open(run: Run): Promise<void> {
    const { commands } = this.app;
    if (commands.hasCommand(commandIds.openRun)) {
      await commands.execute(commandIds.openRun, { run: run.id });
    } else {
      await commands.execute(commandIds.showRuns);
    }
  }
}

/** The data of a seed, as JSON. */
class SeedForm extends Widget implements Dialog.IBodyWidget<string> {
  constructor(trans: TranslationBundle) {
    super();
    this.addClass("po-SeedForm");
    const label = this.node.appendChild(document.createElement("label"));
    label.textContent = trans.__("The seed's data, as JSON: what the templates call `seed`.");
    this.field = label.appendChild(document.createElement("textarea"));
    this.field.rows = 6;
    this.field.spellcheck = false;
    this.field.placeholder = '{"text": "..."}';
  }

  getValue(): string {
    return this.field.value;
  }

  private readonly field: HTMLTextAreaElement;
}

/** JSON, with a list as rows. Throws SyntaxError. */
function parsed(text: string): object {
  const value: unknown = JSON.parse(text);
  if (Array.isArray(value)) {
    return { rows: value };
  }
  if (typeof value !== "object" || value === null) {
    throw new SyntaxError("A seed is an object or a list.");
  }
  return value;
}
