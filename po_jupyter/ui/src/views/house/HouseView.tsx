/** Housekeeping: health, who waits, dead letters, the room that runs take, retention, the export, the audit log. */

import * as React from "react";
import type { CleanReport } from "../../api/answers.js";
import type { Api } from "../../api/client.js";
import { explain } from "../../api/errors.js";
import type { Failure, Run } from "../../api/types.js";
import { Button } from "../../components/Button.js";
import { confirm } from "../../components/dialogs.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { useTrans } from "../../components/translation.js";
import { useAnswer } from "../../components/useAnswer.js";
import { bytes } from "../../format/money.js";
import { grouped } from "../../format/numbers.js";
import { DeadLetters } from "./DeadLetters.js";
import { Waiting } from "./Waiting.js";
import "../../../style/house.css"; // with the view, not with the start of Lab

interface HouseViewProps {
  api: Api;
  open: (id: string) => void;
  requeued: (run: Run) => void;
}

export default function HouseView({ api, open, requeued }: HouseViewProps): JSX.Element {
  return (
    <div className="po-House">
      <Health api={api} />
      <Waiting api={api} open={open} />
      <DeadLetters api={api} open={open} requeued={requeued} />
      <Room api={api} />
      <Audit api={api} />
    </div>
  );
}

function Health({ api }: { api: Api }): JSX.Element {
  const trans = useTrans();
  const { data, problem } = useAnswer(() => api.meta());
  if (problem) {
    return <ErrorBox failure={problem} />;
  }
  return (
    <Facts
      caption={trans.__("Orchestrator")}
      facts={
        data
          ? [
              [trans.__("Version"), data.version],
              [trans.__("Works here"), data.orchestrator.holder ? trans.__("yes") : trans.__("no, in another process")],
              [trans.__("Running"), trans.__("%1 of %2", data.runs.running, data.limits.running)],
              [trans.__("Queued"), grouped(data.runs.queued)],
              [trans.__("Data"), data.data_dir],
              ...(data.hub?.stops_servers
                ? [[trans.__("If the hub stops this server"), trans.__("runs go on when your server starts again")] as [string, string]]
                : []),
              ...(data.hub?.gateway ? [[trans.__("Team models"), data.hub.gateway] as [string, string]] : [])
            ]
          : []
      }
    />
  );
}

function Room({ api }: { api: Api }): JSX.Element {
  const trans = useTrans();
  const { data, problem, reload } = useAnswer(() => api.usage(1));
  const [report, setReport] = React.useState<CleanReport | null>(null);
  const [refused, setRefused] = React.useState<Failure | null>(null);
  const [busy, setBusy] = React.useState(false);
  const clean = async (dry_run: boolean): Promise<void> => {
    setBusy(true);
    setRefused(null);
    try {
      setReport(await api.clean({ dry_run }));
    } catch (error) {
      setRefused(explain(error));
    }
    setBusy(false);
  };
  const remove = async (): Promise<void> => {
    const sure = await confirm({
      title: trans.__("Delete old runs?"),
      body: trans.__("Their outputs and files are removed for good."),
      word: trans.__("Delete")
    });
    if (sure) {
      await clean(false);
      reload();
    }
  };
  if (problem) {
    return <ErrorBox failure={problem} />;
  }
  const states = Object.entries(data?.disk.runs.states ?? {});
  return (
    <>
      <Facts
        caption={trans.__("Room")}
        facts={
          data
            ? [
                ...states.map(([state, used]): [string, string] => [
                  trans._n("%1 run %2", "%1 runs %2", used.runs, state),
                  bytes(used.bytes)
                ]),
                [trans.__("Cached answers"), bytes(data.disk.cache)],
                [trans.__("Logs"), bytes(data.disk.logs)],
                [trans.__("Free on the disk"), bytes(data.disk.free)]
              ]
            : []
        }
      />
      {report && (
        <div role="status">
          {report.dry_run
            ? trans._n("%1 old run would go", "%1 old runs would go", report.runs.length)
            : trans._n("%1 old run is gone", "%1 old runs are gone", report.runs.length)}
          {` · ${bytes(report.bytes)}`}
        </div>
      )}
      {refused && <ErrorBox failure={refused} />}
      <div className="po-Buttons">
        <a className="po-Button" href={`${api.url}runs/export`} download="runs.ndjson">
          {trans.__("Export the history")}
        </a>
        <Button
          label={trans.__("What is old?")}
          title={trans.__("Which ended runs retention would remove now")}
          disabled={busy}
          onClick={() => void clean(true)}
        />
        {report?.dry_run && report.runs.length > 0 && (
          <Button label={trans.__("Delete them…")} disabled={busy} onClick={() => void remove()} />
        )}
      </div>
    </>
  );
}

/** Entries of the log that are shown at a time. */
const ENTRIES = 50;

function Audit({ api }: { api: Api }): JSX.Element {
  const trans = useTrans();
  const { data, problem } = useAnswer(() => api.audit({ limit: ENTRIES }));
  if (problem) {
    // Whoever may not read it is told so where it would stand.
    return <ErrorBox failure={problem} />;
  }
  return (
    <section aria-label={trans.__("Who changed what")}>
      <h3 className="po-House-title">{trans.__("Who changed what")}</h3>
      <ul className="po-List">
        {(data?.entries ?? []).map((entry, index) => (
          <li key={`${entry.at} ${index}`} className="po-House-entry">
            <span>{[entry.action, entry.name ?? entry.pipeline ?? entry.run].filter(Boolean).join(" ")}</span>
            <span className="po-Run-spent">{`${entry.by} · ${new Date(entry.at).toLocaleString()}`}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Facts({ caption, facts }: { caption: string; facts: [string, string][] }): JSX.Element {
  return (
    <table className="po-Table">
      <caption>{caption}</caption>
      <tbody>
        {facts.map(([name, value]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>{value}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
