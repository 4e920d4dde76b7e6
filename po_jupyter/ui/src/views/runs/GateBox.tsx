import * as React from "react";
import { explain } from "../../api/errors.js";
import type { Failure, Run } from "../../api/types.js";
import { Button } from "../../components/Button.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { useTrans } from "../../components/translation.js";
import { shortId } from "../../format/run.js";
import type { Draft, Verbs } from "./actions.js";

interface GateBoxProps {
  run: Run;
  busy: string | undefined;
  verbs: Pick<Verbs, "decide" | "draft" | "artifactUrl">;
}

/** A run that waits for a word: what it asks, what lies there to be decided on, a note, and the two buttons. */
export function GateBox(props: GateBoxProps): JSX.Element {
  // Anew for each gate: a note, a draft or an error of one must not stand over the next.
  return <Decision key={`${props.run.id} ${props.run.gate?.task}`} {...props} />;
}

function Decision({ run, busy, verbs }: GateBoxProps): JSX.Element {
  const trans = useTrans();
  const [note, setNote] = React.useState("");
  const { draft, problem } = useDraft(run, verbs.draft);
  // Nobody approves what is not there to be seen yet.
  const loading = draft === undefined && !problem;
  const gate = run.gate!;
  const asks = gate.task ? trans.__("%1 waits for you", gate.task) : trans.__("This run waits for you");
  const of = trans.__("run %1 %2", run.name, shortId(run.id));
  const decide = (decision: "approve" | "reject"): void => verbs.decide(run, decision, note.trim());
  return (
    <div className="po-Gate" role="group" aria-label={trans.__("Gate of %1", run.name)}>
      <div className="po-Gate-message">{gate.message ? `${asks}: ${gate.message}` : `${asks}.`}</div>
      {problem ? <ErrorBox failure={problem} /> : draft && <DraftView run={run} draft={draft} />}
      {!!gate.artifacts?.length && (
        <div className="po-Gate-files">
          {gate.artifacts.map(path => (
            <a key={path} href={verbs.artifactUrl(run, path)} download={path.split("/").at(-1)}>
              {path}
            </a>
          ))}
        </div>
      )}
      <textarea
        className="po-Input"
        rows={1}
        value={note}
        placeholder={trans.__("Note (optional)")}
        aria-label={trans.__("Note for the decision")}
        onChange={event => setNote(event.target.value)}
      />
      <div className="po-Buttons">
        <Button
          label={trans.__("Reject")}
          description={of}
          title={trans.__("End this run here. It can be resumed.")}
          doing={busy === "reject" ? trans.__("Rejecting…") : null}
          disabled={!!busy}
          onClick={() => decide("reject")}
        />
        <Button
          label={trans.__("Approve")}
          description={of}
          doing={busy === "approve" ? trans.__("Approving…") : null}
          title={loading ? trans.__("What there is to decide on is being loaded.") : undefined}
          disabled={!!busy || loading}
          accent
          onClick={() => decide("approve")}
        />
      </div>
    </div>
  );
}

/** Longer texts are clipped here; the run's page has all of them. */
const LONGEST = 4000;

/** What lies at the gate: undefined until it came, null where there is nothing to show. */
function useDraft(run: Run, load: Verbs["draft"]): { draft: Draft | null | undefined; problem: Failure | null } {
  const [draft, setDraft] = React.useState<Draft | null>();
  const [problem, setProblem] = React.useState<Failure | null>(null);
  React.useEffect(() => {
    let current = true;
    load(run).then(
      found => current && setDraft(found),
      error => current && setProblem(explain(error))
    );
    return () => {
      current = false;
    };
    // Once, not at every change of the run's numbers.
  }, []);
  return { draft, problem };
}

function DraftView({ run, draft }: { run: Run; draft: Draft }): JSX.Element {
  const trans = useTrans();
  if ("output" in draft) {
    return (
      <div className="po-Draft" tabIndex={0} role="region" aria-label={trans.__("Draft of %1", run.name)}>
        {asText(draft.output)}
      </div>
    );
  }
  return (
    <div className="po-Draft" tabIndex={0} role="region" aria-label={trans.__("First rows of %1", run.name)}>
      <table>
        <tbody>
          {draft.rows.map(row => (
            <tr key={row.index}>
              <th scope="row">{row.label ?? row.index}</th>
              <td>{row.ok ? asText(row.output) : (row.error?.message ?? "")}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {draft.more && <div className="po-Draft-more">{trans.__("and more rows: Open shows them all")}</div>}
    </div>
  );
}

function asText(output: unknown): string {
  const text = typeof output === "string" ? output : JSON.stringify(output, null, 1);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
