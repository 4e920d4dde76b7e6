/** The question before a fork: from which task on, and with which prompt and model. */

import * as React from "react";
import { ReactWidget, showDialog, Dialog } from "@jupyterlab/apputils";
import type { Page } from "./context.js";
import type { Definition } from "./shapes.js";
import { forkBody } from "./forkBody.js";
import type { ForkAnswer } from "./forkBody.js";

/** What to send, or null when it was given up. */
export async function forkDialog(
  { run, state, trans }: Page,
  pipeline: Definition
): Promise<ReturnType<typeof forkBody> | null> {
  const first = run.tasks.find(task => task.name === state.task) ?? run.tasks.find(task => task.kind === "prompt") ?? run.tasks[0];
  if (!first) {
    return null;
  }
  const form = new ForkWidget(pipeline, run.tasks.map(task => task.name), first.name, trans);
  const answer = await showDialog({
    title: trans.__("Fork %1", run.name),
    body: form,
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: trans.__("Fork") })],
    // Enter writes a new line in the prompt.
    focusNodeSelector: "select"
  });
  return answer.button.accept && answer.value ? forkBody(pipeline, answer.value) : null;
}

class ForkWidget extends ReactWidget implements Dialog.IBodyWidget<ForkAnswer> {
  constructor(
    private readonly pipeline: Definition,
    private readonly names: string[],
    task: string,
    private readonly trans: Page["trans"]
  ) {
    super();
    this.addClass("po-ForkForm");
    this.answer = this.of(task);
  }

  getValue(): ForkAnswer {
    return this.answer;
  }

  protected override render(): JSX.Element {
    const { trans, answer } = this;
    const set = (change: Partial<ForkAnswer>): void => {
      this.answer = { ...this.answer, ...change };
      this.update();
    };
    return (
      <>
        <label>
          {trans.__("From which task on? What is finished before it is taken over, and not paid again.")}
          <select
            className="po-Select"
            value={answer.task}
            onChange={event => {
              this.answer = this.of(event.target.value);
              this.update();
            }}
          >
            {this.names.map(name => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        {answer.prompt !== null && (
          <label>
            {trans.__("Prompt")}
            <textarea
              className="po-Input"
              rows={8}
              value={answer.prompt}
              onKeyDown={event => event.key === "Enter" && event.stopPropagation()}
              onChange={event => set({ prompt: event.target.value })}
            />
          </label>
        )}
        {answer.prompt !== null && (
          <label>
            {trans.__("Model")}
            <input
              className="po-Input"
              type="text"
              value={answer.model}
              placeholder={modelOf(this.pipeline)}
              onChange={event => set({ model: event.target.value })}
            />
          </label>
        )}
      </>
    );
  }

  /** What a task has now. */
  private of(task: string): ForkAnswer {
    const found = this.pipeline.tasks.find(one => one.name === task);
    const prompt = typeof found?.prompt === "string" ? found.prompt : null;
    return { task, prompt, model: modelOf(found) || modelOf(this.pipeline) };
  }

  private answer: ForkAnswer;
}

function modelOf(part: Record<string, unknown> | undefined): string {
  const llm = part?.llm as { model?: unknown } | undefined;
  return typeof llm?.model === "string" ? llm.model : "";
}
