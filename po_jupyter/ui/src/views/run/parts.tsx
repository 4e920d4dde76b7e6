/** Small things that several parts of a run's page show. */

import * as React from "react";
import * as format from "../../format/run.js";
import type { Failure, RunState, TaskState } from "../../api/types.js";

/** Characters of a value that are shown on one line. */
const LINE = 300;

const GLYPHS: Record<RunState | TaskState, string> = {
  pending: "○",
  running: "▸",
  waiting: "‖",
  done: "✓",
  failed: "✗",
  dead: "✗",
  skipped: "–",
  cancelled: "■"
};

export function Glyph({ state }: { state: string }): JSX.Element {
  return (
    <span className="po-Glyph" aria-hidden="true">
      {GLYPHS[state as RunState] ?? "·"}
    </span>
  );
}

/** A state as a sign and a word, in its colour. */
export function State({ state, word }: { state: string; word?: string }): JSX.Element {
  return (
    <span className={`po-State po-is-${state}`}>
      <Glyph state={state} /> {word ?? state}
    </span>
  );
}

interface VerbProps {
  label: string;
  title?: string;
  /** Something else is under way. The button keeps the focus that it has. */
  busy?: boolean;
  accent?: boolean;
  onClick: () => void;
}

export function Verb({ label, title, busy, accent, onClick }: VerbProps): JSX.Element {
  return (
    <button
      type="button"
      className={accent ? "po-Button po-is-accent" : "po-Button"}
      title={title}
      aria-disabled={busy || undefined}
      onClick={() => !busy && onClick()}
    >
      {label}
    </button>
  );
}

export function Problem({ failure }: { failure: Failure }): JSX.Element {
  const traceback = format.traceback(failure);
  return (
    <div className="po-Problem">
      <div className="po-Problem-message">{failure.message}</div>
      {failure.hint && <div className="po-Problem-hint">{failure.hint}</div>}
      {traceback && (
        <pre className="po-Problem-traceback" tabIndex={0}>
          {traceback}
        </pre>
      )}
    </div>
  );
}

/** Why something could not be loaded, and a way to try again. */
export function Unloaded({ failure, again, word }: { failure: Failure; again: () => void; word: string }): JSX.Element {
  return (
    <div className="po-Unloaded" role="alert">
      <Problem failure={failure} />
      <Verb label={word} onClick={again} />
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
  return value === null || value === undefined ? "" : value.toLocaleString("en-US");
}

export function seconds(value: number | null | undefined): string {
  return value === null || value === undefined ? "" : format.duration(value);
}

/** Money in a column of money: the same rules, and nothing where nothing is known. */
export function dollars(value: number | null | undefined): string {
  return value === null || value === undefined ? "" : format.money(value);
}

export function bytes(size: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  let value = size;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${at && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
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
