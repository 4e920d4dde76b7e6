/** Tabs as ARIA describes them: one stop of the Tab key, arrows between them, their panel is the next stop. */

import * as React from "react";

interface TabsProps<Name extends string> {
  id: string;
  label: string;
  tabs: readonly { name: Name; label: string; count?: string }[];
  selected: Name;
  select: (name: Name) => void;
}

export function Tabs<Name extends string>({ id, label, tabs, selected, select }: TabsProps<Name>): JSX.Element {
  const list = React.useRef<HTMLDivElement>(null);
  const move = (event: React.KeyboardEvent): void => {
    const at = tabs.findIndex(tab => tab.name === selected);
    const back = getComputedStyle(event.currentTarget).direction === "rtl" ? "ArrowRight" : "ArrowLeft";
    const on = back === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
    const to = { [back]: at - 1 + tabs.length, [on]: at + 1, Home: 0, End: tabs.length - 1 }[event.key];
    const next = to === undefined ? undefined : tabs[to % tabs.length];
    if (next) {
      event.preventDefault();
      select(next.name);
      list.current?.querySelector<HTMLElement>(`#${CSS.escape(tabId(id, next.name))}`)?.focus();
    }
  };
  return (
    <div className="po-Tabs" role="tablist" aria-label={label} ref={list} onKeyDown={move}>
      {tabs.map(tab => (
        <button
          key={tab.name}
          type="button"
          role="tab"
          id={tabId(id, tab.name)}
          className="po-Tab"
          aria-selected={tab.name === selected}
          aria-controls={tab.name === selected ? panelId(id) : undefined}
          tabIndex={tab.name === selected ? 0 : -1}
          onClick={() => select(tab.name)}
        >
          {tab.label}
          {tab.count && <span className="po-Tab-count"> {tab.count}</span>}
        </button>
      ))}
    </div>
  );
}

export function tabId(id: string, name: string): string {
  return `${id}-tab-${name}`;
}

export function panelId(id: string): string {
  return `${id}-panel`;
}
