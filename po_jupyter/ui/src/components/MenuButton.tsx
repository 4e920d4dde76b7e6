import * as React from "react";
import { ellipsesIcon } from "@jupyterlab/ui-components";
import { CommandRegistry } from "@lumino/commands";
import { Menu } from "@lumino/widgets";

export interface MenuItem {
  label: string;
  title?: string;
  disabled?: boolean;
  onClick: () => void;
}

/** A button that opens a menu of Lab's own kind: arrow keys, Escape and the focus back on the button. */
export function MenuButton({ label, items }: { label: string; items: readonly MenuItem[] }): JSX.Element {
  const open = (event: React.MouseEvent<HTMLButtonElement>): void => {
    const button = event.currentTarget;
    const commands = new CommandRegistry();
    const menu = new Menu({ commands });
    items.forEach((item, index) => {
      commands.addCommand(`${index}`, {
        label: item.label,
        caption: item.title ?? "",
        isEnabled: () => !item.disabled,
        execute: () => item.onClick()
      });
      menu.addItem({ command: `${index}` });
    });
    menu.aboutToClose.connect(() => {
      button.focus();
      // Only after the chosen command has run.
      setTimeout(() => menu.dispose());
    });
    const { left, bottom } = button.getBoundingClientRect();
    menu.open(left, bottom);
  };
  return (
    <button
      type="button"
      className="po-Button po-is-icon"
      aria-label={label}
      title={label}
      aria-haspopup="menu"
      onClick={open}
    >
      <ellipsesIcon.react tag="span" width="16px" />
    </button>
  );
}
