/** Pipelines that run by the clock: when each is due next, what became of its last slot, and what can be done. */

import * as React from "react";
import type { Schedule, SlotOutcome } from "../../api/answers.js";
import type { Api } from "../../api/client.js";
import { explain } from "../../api/errors.js";
import type { Failure, Run } from "../../api/types.js";
import { Button } from "../../components/Button.js";
import { confirm } from "../../components/dialogs.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { useTrans } from "../../components/translation.js";
import { useAnswer } from "../../components/useAnswer.js";
import { language } from "../../format/language.js";
import { timestamp } from "../../format/time.js";
import "../../../style/house.css"; // the lines of a list, as in the tab System

/** Milliseconds between two looks. */
const AGAIN = 30_000;

interface SchedulesViewProps {
  api: Pick<Api, "schedules" | "changeSchedule" | "removeSchedule" | "runSchedule">;
  started: (run: Run) => void;
}

export function SchedulesView({ api, started }: SchedulesViewProps): JSX.Element | null {
  const trans = useTrans();
  const { data, problem, reload } = useAnswer(() => api.schedules());
  const some = !!data?.length;
  React.useEffect(() => {
    if (!some) {
      return;
    }
    const timer = setInterval(() => {
      if (!document.hidden) {
        reload();
      }
    }, AGAIN);
    return () => clearInterval(timer);
  }, [some]);
  if (problem) {
    return <ErrorBox failure={problem} />;
  }
  if (!data?.length) {
    return null;
  }
  return (
    <section className="po-Schedules" aria-label={trans.__("Schedules")}>
      <h3 className="po-House-title">{trans.__("Schedules")}</h3>
      <ul className="po-List">
        {data.map(schedule => (
          <li key={schedule.id}>
            <Line schedule={schedule} api={api} started={started} reload={reload} />
          </li>
        ))}
      </ul>
    </section>
  );
}

interface LineProps extends SchedulesViewProps {
  schedule: Schedule;
  reload: () => void;
}

function Line({ schedule, api, started, reload }: LineProps): JSX.Element {
  const trans = useTrans();
  const [busy, setBusy] = React.useState(false);
  const [problem, setProblem] = React.useState<Failure | null>(null);
  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    setBusy(true);
    setProblem(null);
    try {
      await work();
      reload();
    } catch (error) {
      setProblem(explain(error));
    }
    setBusy(false);
  };
  const remove = async (): Promise<void> => {
    const sure = await confirm({
      title: trans.__("Remove the schedule of %1?", schedule.pipeline),
      body: trans.__("Its runs stay."),
      word: trans.__("Remove")
    });
    if (sure) {
      await attempt(() => api.removeSchedule(schedule.id));
    }
  };
  const paused = schedule.state === "paused";
  const about = `${schedule.pipeline} ${schedule.cron}`;
  return (
    <article className={`po-Letter po-is-${paused ? "waiting" : "pending"}`} aria-label={about}>
      <div className="po-Run-name">{schedule.pipeline}</div>
      <div className="po-Letter-line">{`${schedule.cron} · ${schedule.timezone}`}</div>
      <div className="po-Letter-line">
        {paused
          ? trans.__("paused: %1", schedule.reason ?? "")
          : trans.__("next %1", schedule.next_at ? moment(schedule.next_at, schedule.timezone) : "")}
      </div>
      {schedule.last && <div className="po-Letter-line">{outcome(schedule.last, schedule.timezone)}</div>}
      {problem && <ErrorBox failure={problem} />}
      <div className="po-Buttons">
        <Button
          label={paused ? trans.__("Resume") : trans.__("Pause")}
          description={about}
          title={paused ? trans.__("Go on with the next slot") : trans.__("Start no run until it is resumed")}
          disabled={busy}
          onClick={() => void attempt(() => api.changeSchedule(schedule.id, { paused: !paused }))}
        />
        <Button
          label={trans.__("Run now")}
          description={about}
          disabled={busy}
          onClick={() => void attempt(async () => started(await api.runSchedule(schedule.id)))}
        />
        <Button label={trans.__("Remove…")} description={about} disabled={busy} onClick={() => void remove()} />
      </div>
    </article>
  );
}

/** A time on the clock that the expression is read by, which may be another one than the reader's. */
function moment(iso: string, timeZone: string): string {
  const at = new Date(timestamp(iso) * 1000);
  try {
    return at.toLocaleString(undefined, { timeZone });
  } catch {
    return at.toISOString(); // a zone that this browser does not know
  }
}

/** "last 27/11/2026, 07:30:00: done", or why there was no run. */
function outcome(last: SlotOutcome, timeZone: string): string {
  const trans = language.trans;
  const words: Record<SlotOutcome["outcome"], string> = {
    run: last.state ?? "",
    missed: trans.__("missed"),
    overlap: trans.__("passed over"),
    refused: trans.__("refused"),
    nothing: trans.__("nothing new")
  };
  const text = trans.__("last %1: %2", moment(last.slot, timeZone), words[last.outcome]);
  return last.note && last.outcome !== "run" ? `${text} · ${last.note}` : text;
}
