/** Small things that several parts of a run's page show. */

import * as React from "react";
import { Button } from "../../components/Button.js";
import { hasEnded } from "../../api/types.js";
import type { Failure, Run, Task } from "../../api/types.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { money } from "../../format/money.js";
import { grouped } from "../../format/numbers.js";
import { stateIcon } from "../../format/run.js";
import { elapsed, secondsBetween } from "../../format/time.js";

/** Characters of a value that are shown on one line. */
const LINE = 160;

export function Glyph({ state }: { state: string }): JSX.Element {
  return (
    <span className="po-Glyph" aria-hidden="true">
      {stateIcon(state)}
    </span>
  );
}

/** Why something could not be loaded, and a way to try again. */
export function Unloaded({ failure, again, word }: { failure: Failure; again: () => void; word: string }): JSX.Element {
  return (
    <div className="po-Unloaded" role="alert">
      <ErrorBox failure={failure} />
      <Button label={word} onClick={again} />
    </div>
  );
}

export function Empty({ children }: { children: React.ReactNode }): JSX.Element {
  return <p className="po-Empty">{children}</p>;
}

/** A labelled choice among a few. */
export function Choice({
  label,
  value,
  options,
  onChange
}: {
  label: string;
  value: string;
  options: readonly { value: string; label: string }[];
  onChange: (value: string) => void;
}): JSX.Element {
  return (
    <label className="po-Choice">
      <span>{label}</span>
      <select className="po-Select" value={value} onChange={event => onChange(event.target.value)}>
        {options.map(option => (
          <option key={option.value} value={option.value}>
            {option.label}
          </option>
        ))}
      </select>
    </label>
  );
}

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? "" : grouped(value);
}

export function seconds(value: number | null | undefined): string {
  return value === null || value === undefined ? "" : elapsed(value);
}

/** Money in a column of money: the same rules, and nothing where nothing is known. */
export function dollars(value: number | null | undefined): string {
  return value === null || value === undefined ? "" : money(value);
}

/** Seconds that a task took or takes: one that the end of its run cut off ended with it. `now` in seconds since 1970. */
export function taskSeconds(run: Run, task: Task, now: number): number | null {
  return secondsBetween(task.started_at, task.ended_at ?? (hasEnded(run) ? run.updated_at : null), now);
}

/** A value on one line: fields of a mapping as "label: bug · reason: it crashes". */
export function line(value: unknown): string {
  if (value === null || value === undefined) {
    return "";
  }
  const text = typeof value === "string" ? value : fieldsOf(value);
  return text.length > LINE ? text.slice(0, LINE) + "…" : text;
}

function fieldsOf(value: unknown): string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return JSON.stringify(value).slice(0, LINE + 1);
  }
  const fields: string[] = [];
  let length = 0;
  for (const [name, field] of Object.entries(value)) {
    const text = typeof field === "string" ? field : JSON.stringify(field);
    fields.push(`${name}: ${text.slice(0, LINE)}`);
    length += name.length + text.length;
    if (length > LINE) {
      break;
    }
  }
  return fields.join(" · ");
}

/** Gives the browser a file to save. */
export function download(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser reads it a moment later.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
