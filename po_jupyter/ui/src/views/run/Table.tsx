/** A table of which only the rows in sight are in the document: as fast with 100,000 rows as with 10. */

import * as React from "react";
import { HEIGHT, useWindow } from "./window.js";

export interface Column<T> {
  name: string;
  label: string;
  /** A track of a CSS grid. */
  width: string;
  /** Aligned at its end, with figures of one width. */
  number?: boolean;
  sortable?: boolean;
  render: (item: T) => React.ReactNode;
}

interface TableProps<T> {
  id: string;
  label: string;
  columns: readonly Column<T>[];
  count: number;
  at: (index: number) => T | undefined;
  /** The row whose details are shown, by its place; -1 is none. */
  open: number;
  onOpen: (index: number) => void;
  /** What is in sight changed. */
  onRange: (first: number, last: number) => void;
  sort?: string;
  desc?: boolean;
  onSort?: (name: string) => void;
  /** Row at the top in the beginning. */
  top?: number;
  onTop?: (index: number) => void;
  /** Rows can be chosen, beside being opened: by a box in front of each, Space, and Shift with a click or an arrow. */
  chosen?: {
    has: (item: T) => boolean;
    /** What a screen reader says of the box of a row. */
    label: (item: T) => string;
    /** What stands above the boxes, for a screen reader. */
    title: string;
    toggle: (index: number) => void;
    /** All from one place to another, whichever is first. */
    extend: (from: number, to: number) => void;
  };
  /** Anything that makes rows look different: rows are drawn again when it changes. */
  version: unknown;
}

export function Table<T>(props: TableProps<T>): JSX.Element {
  const { id, label, columns, count, open, onOpen, onRange, onTop, top = 0 } = props;
  const box = React.useRef<HTMLDivElement>(null);
  const [active, setActive] = React.useState(Math.max(0, open));
  const anchor = React.useRef(Math.max(0, open));
  const latest = React.useRef(props);
  latest.current = props;
  const { first, length, above, show } = useWindow(box, count, top);
  const last = Math.max(first, first + length - 1);
  React.useEffect(() => onRange(first, last), [first, last, onRange]);
  React.useEffect(() => {
    const timer = setTimeout(() => onTop?.(above), 300);
    return () => clearTimeout(timer);
  }, [above, onTop]);
  const selects = props.chosen !== undefined;
  const template = React.useMemo(
    () => ({ gridTemplateColumns: [...(selects ? ["1.4em"] : []), ...columns.map(one => one.width)].join(" ") }),
    [columns, selects]
  );
  const go = (index: number): void => {
    const to = Math.max(0, Math.min(count - 1, index));
    setActive(to);
    show(to);
    if (open >= 0) {
      onOpen(to);
    }
  };
  const choose = React.useCallback((index: number, shift: boolean) => {
    setActive(index);
    if (shift && latest.current.chosen) {
      latest.current.chosen.extend(anchor.current, index);
    } else {
      anchor.current = index;
      latest.current.onOpen(index);
    }
  }, []);
  const check = React.useCallback((index: number, shift: boolean) => {
    setActive(index);
    if (shift) {
      latest.current.chosen?.extend(anchor.current, index);
    } else {
      latest.current.chosen?.toggle(index);
    }
    anchor.current = index;
    box.current?.focus({ preventScroll: true }); // a click gave it to the box of the row: the keys are the table's
  }, []);
  const onKey = (event: React.KeyboardEvent): void => {
    if (event.target !== box.current) {
      return; // a heading has the focus
    }
    const page = Math.max(1, Math.floor((box.current.clientHeight - HEIGHT) / HEIGHT) - 1);
    const moves: Record<string, number> = {
      ArrowDown: active + 1,
      ArrowUp: active - 1,
      PageDown: active + page,
      PageUp: active - page,
      Home: 0,
      End: count - 1
    };
    const to = moves[event.key];
    if (to !== undefined && event.shiftKey && props.chosen) {
      event.preventDefault();
      const last = Math.max(0, Math.min(count - 1, to));
      props.chosen.extend(active, last);
      anchor.current = last;
      go(last);
    } else if (to !== undefined) {
      event.preventDefault();
      go(to);
      anchor.current = Math.max(0, Math.min(count - 1, to));
    } else if (event.key === " " && props.chosen) {
      event.preventDefault();
      check(active, false);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      onOpen(active);
    } else if (event.key === "Escape" && open >= 0) {
      event.preventDefault();
      onOpen(-1);
    }
  };
  const isShown = active >= first && active <= last && active < count;
  return (
    <div
      ref={box}
      className="po-Table"
      role="grid"
      aria-label={label}
      aria-rowcount={count + 1}
      aria-colcount={columns.length + (selects ? 1 : 0)}
      aria-multiselectable={selects || undefined}
      aria-activedescendant={isShown ? rowId(id, active) : undefined}
      tabIndex={0}
      onKeyDown={onKey}
    >
      <Head {...props} template={template} />
      <div role="rowgroup" className="po-Table-body" style={{ height: count * HEIGHT }}>
        {Array.from({ length }, (_, n) => first + n).map(index => (
          <TableRow
            key={index % length} // the element of a row that leaves is that of one that comes: none is made
            id={rowId(id, index)}
            index={index}
            item={props.at(index)}
            columns={columns as readonly Column<unknown>[]}
            template={template}
            state={stateOf(props, index, active)}
            box={boxOf(props, index)}
            choose={choose}
            check={check}
          />
        ))}
      </div>
    </div>
  );
}

function stateOf<T>({ at, chosen, open }: TableProps<T>, index: number, active: number): string {
  const item = chosen && at(index);
  return [index === active && "active", index === open && "open", item !== undefined && chosen!.has(item) && "chosen"]
    .filter(Boolean)
    .join(" ");
}

/** The name of the box of a row; null without boxes. */
function boxOf<T>({ at, chosen }: TableProps<T>, index: number): string | null {
  const item = at(index);
  return chosen ? (item === undefined ? "" : chosen.label(item)) : null;
}

function Head<T>({ columns, chosen, sort, desc, onSort, template }: TableProps<T> & { template: object }): JSX.Element {
  return (
    <div role="rowgroup" className="po-Table-head">
      <div role="row" aria-rowindex={1} className="po-Table-row" style={template}>
        {chosen && (
          <div role="columnheader" className="po-Table-cell">
            <span className="po-Hidden">{chosen.title}</span>
          </div>
        )}
        {columns.map(column => {
          const sorted = sort === column.name;
          return (
            <div
              key={column.name}
              role="columnheader"
              className={column.number ? "po-Table-cell po-is-number" : "po-Table-cell"}
              aria-sort={sorted ? (desc ? "descending" : "ascending") : undefined}
            >
              {column.sortable && onSort ? (
                <button type="button" className="po-Table-sort" onClick={() => onSort(column.name)}>
                  {column.label}
                  <span aria-hidden="true">{sorted ? (desc ? " ↓" : " ↑") : ""}</span>
                </button>
              ) : (
                column.label
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}

interface RowProps {
  id: string;
  index: number;
  item: unknown;
  columns: readonly Column<unknown>[];
  template: object;
  /** "active" has the keyboard, "open" is the one whose details are shown, "chosen" has a mark in its box. */
  state: string;
  /** The name of its box; null without one. */
  box: string | null;
  choose: (index: number, shift: boolean) => void;
  check: (index: number, shift: boolean) => void;
}

const TableRow = React.memo(
  function TableRow({ id, index, item, columns, template, state, box, choose, check }: RowProps): JSX.Element {
    const classes = ["po-Table-row", ...state.split(" ").flatMap(word => (word ? [`po-is-${word}`] : []))];
    return (
      <div
        id={id}
        role="row"
        aria-rowindex={index + 2}
        aria-selected={state.includes(box === null ? "open" : "chosen")}
        aria-current={box !== null && state.includes("open") ? true : undefined}
        className={classes.join(" ")}
        style={{ ...template, insetBlockStart: index * HEIGHT }}
        onClick={event => choose(index, event.shiftKey)}
        // Shift and a click would mark the text between the two rows.
        onMouseDown={event => box !== null && event.shiftKey && event.preventDefault()}
      >
        {box !== null && (
          <div role="gridcell" className="po-Table-cell po-Table-check" onClick={event => event.stopPropagation()}>
            <input
              type="checkbox"
              tabIndex={-1}
              aria-label={box}
              checked={state.includes("chosen")}
              disabled={item === undefined}
              onChange={event => check(index, (event.nativeEvent as MouseEvent).shiftKey)}
            />
          </div>
        )}
        {columns.map(column => (
          <div
            key={column.name}
            role="gridcell"
            className={column.number ? "po-Table-cell po-is-number" : "po-Table-cell"}
          >
            {item === undefined ? "" : column.render(item)}
          </div>
        ))}
      </div>
    );
  },
  (before, after) =>
    before.index === after.index &&
    before.item === after.item &&
    before.state === after.state &&
    before.box === after.box &&
    before.template === after.template
);

function rowId(id: string, index: number): string {
  return `${id}-row-${index}`;
}
