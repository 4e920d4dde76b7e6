/** The run page: the command that opens it, its URL, and its return after a reload. */

import { ILayoutRestorer, IRouter } from "@jupyterlab/application";
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { InputDialog, ICommandPalette, WidgetTracker } from "@jupyterlab/apputils";
import { IStateDB } from "@jupyterlab/statedb";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import { runsIcon } from "../../icon.js";
import { TRANSLATION_DOMAIN } from "../../format/language.js";
import { commandIds, IPoLive } from "../../tokens.js";
import { PATTERN, readAddress, withoutAddress } from "./address.js";
import type { Address } from "./address.js";
import type { RunPageWidget } from "./RunPageWidget.js";

const FROM_URL = "po-jupyter:open-run-of-url";

const runPage: JupyterFrontEndPlugin<void> = {
  id: "po-jupyter:run-page",
  description: "A page for each prompt run: tasks, rows, calls, logs, data, files and money.",
  autoStart: true,
  requires: [IPoLive],
  optional: [ICommandPalette, ILayoutRestorer, IRouter, IStateDB, ITranslator],
  // The page itself is loaded with the first one that is opened.
  activate: (
    app: JupyterFrontEnd,
    live: IPoLive,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    router: IRouter | null,
    saved: IStateDB | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const tracker = new WidgetTracker<RunPageWidget>({ namespace: "po-run-page" });
    const open = async (address: Address): Promise<void> => {
      const { openRunPage } = await import(/* webpackChunkName: "po-run-page" */ "./open.js");
      await openRunPage({ app, live, tracker, saved, trans }, address);
    };
    app.commands.addCommand(commandIds.openRun, {
      label: trans.__("Open Prompt Run…"),
      icon: runsIcon,
      describedBy: { args: ARGS },
      execute: async args => {
        const address = args as Partial<Address>;
        const run = address.run ?? (await askForRun(trans.__("Open which run? Its id, or the end of it.")));
        if (run) {
          await open({ ...address, run });
        }
      }
    });
    palette?.addItem({ command: commandIds.openRun, category: trans.__("Prompt runs") });
    void restorer?.restore(tracker, {
      command: commandIds.openRun,
      args: widget => ({ run: widget.run }),
      name: widget => widget.run
    });
    if (router) {
      app.commands.addCommand(FROM_URL, {
        describedBy: { args: { type: "object", properties: {} } },
        execute: async () => {
          const address = readAddress(router.current.search ?? "");
          if (address) {
            router.navigate(withoutAddress(router.current.request), { skipRouting: true });
            // After the layout is back, so that the page that was asked for is the one in front.
            await app.restored;
            await open(address);
          }
        }
      });
      router.register({ command: FROM_URL, pattern: PATTERN });
    }
  }
};

const ARGS = {
  type: "object",
  properties: {
    run: { type: "string", description: "The id of the run, or a unique end of it." },
    tab: { type: "string", enum: ["tasks", "rows", "calls", "logs", "data", "files", "money"] },
    task: { type: "string", description: "The task that the page is about." },
    row: { type: "integer", description: "The row of the task whose details are shown." }
  }
} as const;

async function askForRun(title: string): Promise<string | null> {
  const answer = await InputDialog.getText({ title });
  return answer.button.accept ? answer.value?.trim() || null : null;
}

export const plugins: JupyterFrontEndPlugin<unknown>[] = [runPage];
