/** A JSON value as a tree that opens where it is clicked; what is closed costs nothing. Text nodes only (P6). */

import * as React from "react";
import { line } from "../parts.js";
import { language } from "../../../format/language.js";

/** Entries of one level that are shown at once. */
const CHUNK = 100;
/** Characters of a text that are shown before it is opened. */
const LONG = 4000;

interface TreeProps {
  value: unknown;
  name?: string;
  /** Levels that are open in the beginning. */
  depth?: number;
}

export function JsonTree({ value, name, depth = 1 }: TreeProps): JSX.Element {
  if (typeof value !== "object" || value === null) {
    return (
      <div className="po-Json-leaf">
        {name !== undefined && <span className="po-Json-name">{name}: </span>}
        <Leaf value={value} />
      </div>
    );
  }
  return <Branch value={value} name={name} depth={depth} />;
}

function Branch({ value, name, depth = 0 }: TreeProps & { value: object }): JSX.Element {
  const [open, setOpen] = React.useState(depth > 0);
  const [shown, setShown] = React.useState(CHUNK);
  const entries = Array.isArray(value) ? value.length : Object.keys(value).length;
  const brackets = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  if (!entries) {
    return (
      <div className="po-Json-leaf">
        {name !== undefined && <span className="po-Json-name">{name}: </span>}
        <span>{brackets.join("")}</span>
      </div>
    );
  }
  return (
    <details className="po-Json-branch" open={open} onToggle={event => setOpen(event.currentTarget.open)}>
      <summary>
        {name !== undefined && <span className="po-Json-name">{name}: </span>}
        <span className="po-Json-size">
          {brackets[0]}
          {entries}
          {brackets[1]}
        </span>
        {!open && <span className="po-Json-preview"> {line(Array.isArray(value) ? value.slice(0, 8) : value)}</span>}
      </summary>
      {open && (
        <div className="po-Json-entries">
          {entriesOf(value, shown).map(([key, entry]) => (
            <JsonTree key={key} name={key} value={entry} depth={depth - 1} />
          ))}
          {entries > shown && (
            <button type="button" className="po-Button" onClick={() => setShown(shown + CHUNK)}>
              {language.trans.__("%1 more of %2", Math.min(CHUNK, entries - shown), entries - shown)}
            </button>
          )}
        </div>
      )}
    </details>
  );
}

function entriesOf(value: object, limit: number): [string, unknown][] {
  if (Array.isArray(value)) {
    return value.slice(0, limit).map((entry, index) => [String(index), entry]);
  }
  return Object.entries(value).slice(0, limit);
}

function Leaf({ value }: { value: unknown }): JSX.Element {
  const [whole, setWhole] = React.useState(false);
  if (typeof value !== "string") {
    return <span className="po-Json-value">{String(value)}</span>;
  }
  const long = value.length > LONG && !whole;
  return (
    <>
      <span className="po-Json-text">{long ? value.slice(0, LONG) : value}</span>
      {long && (
        <button type="button" className="po-Button" onClick={() => setWhole(true)}>
          {language.trans.__("… %1 more characters", value.length - LONG)}
        </button>
      )}
    </>
  );
}
