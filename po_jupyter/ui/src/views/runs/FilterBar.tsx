import * as React from "react";
import { filterIcon } from "@jupyterlab/ui-components";
import type { RunState } from "../../api/types.js";
import { Button } from "../../components/Button.js";
import { useTrans } from "../../components/translation.js";
import { stateIcon } from "../../format/run.js";
import type { Filters } from "../../state/filters.js";
import { isFiltered, NO_FILTERS } from "../../state/filters.js";

const STATES: readonly RunState[] = ["pending", "running", "waiting", "done", "failed", "cancelled", "dead", "moved"];
/** A word that is being typed is looked for after this pause (ms). */
const PAUSE = 250;

interface FilterBarProps {
  filters: Filters;
  pipelines: readonly string[];
  onChange: (filters: Filters) => void;
}

/** The search field, and behind a button state, pipeline and days. */
export function FilterBar({ filters, pipelines, onChange }: FilterBarProps): JSX.Element {
  const trans = useTrans();
  const [more, setMore] = React.useState(() => isFiltered({ ...filters, q: "" }));
  const id = React.useId();
  const change = (part: Partial<Filters>): void => onChange({ ...filters, ...part });
  return (
    <div className="po-Filters" role="search" aria-label={trans.__("Search runs")}>
      <div className="po-Filters-line">
        <SearchField q={filters.q} onChange={q => change({ q })} />
        <button
          type="button"
          className="po-Button po-is-icon"
          aria-expanded={more}
          aria-controls={id}
          aria-label={trans.__("Filters")}
          title={trans.__("Filters: state, pipeline, days")}
          onClick={() => setMore(!more)}
        >
          <filterIcon.react tag="span" width="16px" />
        </button>
        {isFiltered(filters) && <Button label={trans.__("Clear")} onClick={() => onChange(NO_FILTERS)} />}
      </div>
      {more && (
        <div className="po-Filters-more" id={id}>
          <label>
            <span>{trans.__("State")}</span>
            <select
              className="po-Input"
              value={filters.state}
              onChange={event => change({ state: event.target.value as RunState | "" })}
            >
              <option value="">{trans.__("all")}</option>
              {STATES.map(state => (
                <option key={state} value={state}>{`${stateIcon(state)} ${state}`}</option>
              ))}
            </select>
          </label>
          <label>
            <span>{trans.__("Pipeline")}</span>
            <select
              className="po-Input"
              value={filters.pipeline}
              onChange={event => change({ pipeline: event.target.value })}
            >
              <option value="">{trans.__("all")}</option>
              {[...new Set([...pipelines, ...(filters.pipeline ? [filters.pipeline] : [])])].map(name => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
          <label>
            <span>{trans.__("From")}</span>
            <input
              className="po-Input"
              type="date"
              value={filters.since}
              onChange={event => change({ since: event.target.value })}
            />
          </label>
          <label>
            <span>{trans.__("To")}</span>
            <input
              className="po-Input"
              type="date"
              value={filters.until}
              onChange={event => change({ until: event.target.value })}
            />
          </label>
        </div>
      )}
    </div>
  );
}

/** Its text is its own while a person types; what it looks for follows after a pause. */
function SearchField({ q, onChange }: { q: string; onChange: (q: string) => void }): JSX.Element {
  const trans = useTrans();
  const [text, setText] = React.useState(q);
  const timer = React.useRef<ReturnType<typeof setTimeout>>();
  const sent = React.useRef(q);
  React.useEffect(() => () => clearTimeout(timer.current), []);
  React.useEffect(() => {
    // Cleared or restored from outside; what was typed here and came back is no news.
    if (q !== sent.current) {
      sent.current = q;
      setText(q);
    }
  }, [q]);
  return (
    <input
      className="po-Input po-Filters-search"
      type="search"
      value={text}
      placeholder={trans.__("Search runs")}
      aria-label={trans.__("Search by name, pipeline or id")}
      onChange={event => {
        const wanted = event.target.value;
        setText(wanted);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => {
          sent.current = wanted;
          onChange(wanted);
        }, PAUSE);
      }}
    />
  );
}
