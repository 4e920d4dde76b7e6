import * as React from "react";
import { stateName } from "../format/language.js";
import { stateIcon } from "../format/run.js";

/** The sign and the word of a state, in its colour. `shown` is the state of which it has sign and colour. */
export function StateBadge({ state, shown = state }: { state: string; shown?: string }): JSX.Element {
  return (
    <span className={`po-State po-is-${shown}`} data-state={state}>
      <span aria-hidden="true">{stateIcon(shown)}</span> {stateName(state)}
    </span>
  );
}
