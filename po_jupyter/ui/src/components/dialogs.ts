import { Dialog, showDialog } from "@jupyterlab/apputils";

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
