import * as React from "react";
import { percent } from "../format/run.js";

/** A bar with its number. `share` is 0 to 1; 99.9 % is not done: only the end is 100. */
export function ProgressBar({ share, label }: { share: number; label: string }): JSX.Element {
  const text = percent(share);
  return (
    <div className="po-Bar">
      <div
        className="po-Bar-track"
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={parseInt(text)}
      >
        <div className="po-Bar-fill" style={{ inlineSize: `${Math.min(1, Math.max(0, share)) * 100}%` }} />
      </div>
      <span className="po-Bar-percent" aria-hidden="true">
        {text}
      </span>
    </div>
  );
}
