import * as React from "react";
import { useVirtualizer } from "@tanstack/react-virtual";

interface VirtualListProps<T> {
  items: readonly T[];
  itemKey: (item: T) => string;
  render: (item: T, index: number) => React.ReactNode;
  /** What an item is high before it was measured (px). */
  estimate: number;
  label: string;
  /** The element that scrolls; the list may begin below other things in it. */
  scroller: React.RefObject<HTMLElement>;
  /** Called when the last item comes into sight. */
  onEnd?: () => void;
}

/** A list of any length, of which only what can be seen is in the page. Its items may be of any height. */
export function VirtualList<T>(props: VirtualListProps<T>): JSX.Element {
  const { items, itemKey, render, estimate, label, scroller, onEnd } = props;
  const list = React.useRef<HTMLDivElement>(null);
  const [margin, setMargin] = React.useState(0);
  React.useLayoutEffect(() => {
    // What is above the list may have grown or shrunk with any change.
    if (list.current && scroller.current) {
      const { top } = list.current.getBoundingClientRect();
      const above = top - scroller.current.getBoundingClientRect().top + scroller.current.scrollTop;
      setMargin(before => (Math.abs(before - above) < 1 ? before : above));
    }
  });
  const virtual = useVirtualizer({
    count: items.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => estimate,
    getItemKey: index => itemKey(items[index]!),
    overscan: 6,
    scrollMargin: margin
  });
  const shown = virtual.getVirtualItems();
  const last = shown.at(-1)?.index ?? -1;
  React.useEffect(() => {
    if (last >= 0 && last === items.length - 1) {
      onEnd?.();
    }
  }, [last, items.length, onEnd]);
  return (
    <div
      ref={list}
      className="po-Virtual"
      role="list"
      aria-label={label}
      style={{ blockSize: `${virtual.getTotalSize()}px` }}
    >
      {shown.map(row => (
        <div
          key={row.key}
          ref={virtual.measureElement}
          data-index={row.index}
          className="po-Virtual-item"
          role="listitem"
          aria-setsize={items.length}
          aria-posinset={row.index + 1}
          style={{ transform: `translateY(${row.start - margin}px)` }}
        >
          {render(items[row.index]!, row.index)}
        </div>
      ))}
    </div>
  );
}
