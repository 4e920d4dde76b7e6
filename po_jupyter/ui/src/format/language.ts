/** The words of Lab's language, for what is said outside of components: English until Lab has said which it is. */

import { nullTranslator } from "@jupyterlab/translation";
import type { TranslationBundle } from "@jupyterlab/translation";

/** The domain of the translations. */
export const TRANSLATION_DOMAIN = "po_jupyter";

export const language: { trans: TranslationBundle } = { trans: nullTranslator.load(TRANSLATION_DOMAIN) };

/** Marks a text for the catalogue that is translated where it is shown: `trans.__(column.label)`. */
export function mark(text: string): string {
  return text;
}

/** The word for a state of a run, a task, a row or a call. */
export function stateName(state: string): string {
  const { trans } = language;
  const names: Record<string, string> = {
    pending: trans.__("pending"),
    running: trans.__("running"),
    waiting: trans.__("waiting"),
    done: trans.__("done"),
    failed: trans.__("failed"),
    cancelled: trans.__("cancelled"),
    skipped: trans.__("skipped"),
    dead: trans.__("dead"),
    moved: trans.__("moved"),
    "in flight": trans.__("in flight"),
    unknown: trans.__("unknown"),
    withdrawn: trans.__("withdrawn")
  };
  return names[state] ?? state;
}
