import * as React from "react";

/** More than this of one value is not drawn: a click on the file or the export has all of it. */
const MOST_ENTRIES = 200;
const LONGEST_TEXT = 5000;

/** Any JSON as a tree that opens by clicks; texts stand as they are, with their line breaks. */
export function Json({ value, open = 1 }: { value: unknown; open?: number }): JSX.Element {
  if (value === null || typeof value !== "object") {
    return <span className="po-Json-value">{plain(value)}</span>;
  }
  const entries = Object.entries(value);
  const isList = Array.isArray(value);
  if (!entries.length) {
    return <span className="po-Json-value">{isList ? "[]" : "{}"}</span>;
  }
  return (
    <details className="po-Json" open={open > 0}>
      <summary>{isList ? `[${entries.length}]` : `{${entries.length}}`}</summary>
      <dl>
        {entries.slice(0, MOST_ENTRIES).map(([key, inner]) => (
          <div key={key}>
            <dt>{key}</dt>
            <dd>
              <Json value={inner} open={open - 1} />
            </dd>
          </div>
        ))}
      </dl>
      {entries.length > MOST_ENTRIES && <div>… {entries.length - MOST_ENTRIES} more</div>}
    </details>
  );
}

function plain(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;
}
