/** Which stage of which task ran, or waited, when. */

import * as React from "react";
import { duration, elapsed } from "../../../format/time.js";
import { usePage } from "../context.js";
import type { Span } from "../shapes.js";
import { timeline } from "./bars.js";
import type { Bar } from "./bars.js";
import { language } from "../../../format/language.js";

export function Timeline({ spans, chosen, choose }: { spans: Span[]; chosen: string; choose: (task: string) => void }): JSX.Element {
  const { run, now, trans } = usePage();
  const names = run.tasks.map(task => task.name);
  const shown = timeline(names, spans, now * 1000);
  return (
    <div className="po-Timeline">
      <div className="po-Timeline-axis" aria-hidden="true">
        {shown.ticks.map(tick => (
          <span key={tick.seconds} style={{ insetInlineStart: `${tick.left}%` }}>
            {tickLabel(tick.seconds)}
          </span>
        ))}
      </div>
      <ol aria-label={trans.__("Timeline")}>
        {shown.lanes.map(lane => (
          <li key={lane.task} className="po-Lane">
            <button
              type="button"
              className="po-Lane-name"
              aria-pressed={lane.task === chosen}
              title={lane.task}
              onClick={() => choose(lane.task)}
            >
              {lane.task}
            </button>
            <div className="po-Lane-bars">
              {lane.bars.map((bar, index) => (
                <div
                  key={index}
                  className={`po-Lane-bar po-is-${bar.span.state}`}
                  style={{ insetInlineStart: `${bar.left}%`, width: `${bar.width}%` }}
                  title={words(bar)}
                >
                  {bar.waited > 0 && <div className="po-Lane-wait" style={{ width: `${bar.waited * 100}%` }} />}
                </div>
              ))}
            </div>
            <span className="po-Hidden">{lane.bars.map(words).join("; ")}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}

function tickLabel(seconds: number): string {
  return seconds < 60 ? `${Number(seconds.toFixed(2))} s` : duration(seconds);
}

/** "inference · attempt 2 · 12.1 s", "inference · 12.1 s · waited 8.0 s · requests per minute". */
function words({ span, seconds }: Bar): string {
  const parts = [span.stage ?? span.state];
  if (span.attempt > 1) {
    parts.push(language.trans.__("attempt %1", span.attempt));
  }
  parts.push(elapsed(seconds));
  if (span.wait > 0) {
    parts.push(language.trans.__("waited %1", elapsed(span.wait)));
  }
  if (span.reason) {
    parts.push(span.reason);
  }
  return parts.join(" · ");
}
