import { Dialog, InputDialog, showDialog } from "@jupyterlab/apputils";

/** Ask before something that costs or cannot be taken back; `word` is the button's. */
export async function confirm({ title, body, word }: { title: string; body: string; word: string }): Promise<boolean> {
  const answer = await showDialog({
    title,
    body,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: word })],
    defaultButton: 0
  });
  return answer.button.accept;
}

/** Lab's choice among a few, with its label as the name that a screen reader says of the list. */
export function chooseItem(options: InputDialog.IItemOptions & { label: string }): ReturnType<typeof InputDialog.getItem> {
  const answer = InputDialog.getItem(options);
  requestAnimationFrame(() => {
    document.querySelector(".jp-Dialog select:not([aria-label])")?.setAttribute("aria-label", options.label);
  });
  return answer;
}
