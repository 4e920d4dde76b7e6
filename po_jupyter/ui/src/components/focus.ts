/** Where the keyboard is: taken into a view, and kept in it when what had it goes away. Plain nodes, no React. */

/** What a view's keyboard begins with. */
const FIRST = "[role=tab][aria-selected=true]";
/** What is large enough to be named by a screen reader, and small enough to go on from with Tab. */
const PLACES = "section, article, li, [role=group], [role=region], [role=tabpanel]";

/** Give the keyboard to a view: to its tabs, or to its node until they are there. */
export function enter(node: HTMLElement): void {
  const first = node.querySelector<HTMLElement>(FIRST);
  if (first) {
    first.focus();
    return;
  }
  focusPlace(node);
  const observer = new MutationObserver(() => {
    if (document.activeElement !== node) {
      observer.disconnect(); // the person has gone on
    } else if (node.querySelector(FIRST)) {
      observer.disconnect();
      enter(node);
    }
  });
  observer.observe(node, { childList: true, subtree: true });
}

/**
 * Keep the keyboard in `root` until the returned function is called. A browser drops it on the page's body when the
 * element that has it is removed: a button whose work is done, a card that moves to another list. It goes to the same
 * run's card where there is one, else to the smallest part around it that is left.
 */
export function keepFocus(root: HTMLElement): () => void {
  let path: Element[] = [];
  let run: string | null = null;
  const onFocus = (event: FocusEvent): void => {
    path = ancestors(event.target as Element, root);
    run = (event.target as Element).closest<HTMLElement>("[data-run]")?.dataset.run ?? null;
  };
  const onBlur = (): void => {
    const left = path[0];
    // After what happens now: an element that is being removed is still in the page, one that was left stays in it.
    queueMicrotask(() => {
      if (path[0] === left && left?.isConnected && document.activeElement !== left) {
        path = [];
      }
    });
  };
  const observer = new MutationObserver(() => {
    const isLost = !document.activeElement || document.activeElement === document.body;
    if (path.length && !path[0]!.isConnected && isLost && root.isConnected) {
      const heads = [...root.querySelectorAll<HTMLElement>("[data-run] .po-Run-head")];
      const card = heads.find(head => head.closest<HTMLElement>("[data-run]")!.dataset.run === run);
      const around = path.find(each => each.isConnected)?.closest<HTMLElement>(PLACES);
      path = [];
      focusPlace(card ?? (around && root.contains(around) ? around : root));
    }
  });
  root.addEventListener("focusin", onFocus);
  root.addEventListener("focusout", onBlur);
  observer.observe(root, { childList: true, subtree: true });
  return () => {
    observer.disconnect();
    root.removeEventListener("focusin", onFocus);
    root.removeEventListener("focusout", onBlur);
  };
}

function ancestors(element: Element, root: Element): Element[] {
  const found: Element[] = [];
  for (let each: Element | null = element; each && root.contains(each); each = each.parentElement) {
    found.push(each);
  }
  return found;
}

/** Focus what need not be a stop of Tab. */
function focusPlace(element: HTMLElement): void {
  if (element.tabIndex < 0 && !element.hasAttribute("tabindex")) {
    element.tabIndex = -1;
  }
  element.focus();
}
