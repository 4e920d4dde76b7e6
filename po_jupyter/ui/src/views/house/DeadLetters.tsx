/** Runs that used up their attempts: what happened to each, and what can be done. */

import * as React from "react";
import type { DeadLetter } from "../../api/answers.js";
import type { Api } from "../../api/client.js";
import { explain } from "../../api/errors.js";
import type { Failure, Run } from "../../api/types.js";
import { Button } from "../../components/Button.js";
import { confirm } from "../../components/dialogs.js";
import { EmptyState } from "../../components/EmptyState.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { useTrans } from "../../components/translation.js";
import { timestamp } from "../../format/time.js";
import { language } from "../../format/language.js";

const PAGE = 20;

interface DeadLettersProps {
  api: Pick<Api, "deadLetters" | "requeue" | "discard">;
  open: (id: string) => void;
  /** A dead run goes on. */
  requeued: (run: Run) => void;
}

interface Page {
  letters: readonly DeadLetter[];
  /** Where the next page begins; null: this was the last one; undefined: none was read. */
  next: string | null | undefined;
}

export function DeadLetters({ api, open, requeued }: DeadLettersProps): JSX.Element {
  const trans = useTrans();
  const [page, setPage] = React.useState<Page>({ letters: [], next: undefined });
  const [problem, setProblem] = React.useState<Failure | null>(null);
  const more = async (cursor?: string): Promise<void> => {
    setProblem(null);
    try {
      const { dead_letters, next } = await api.deadLetters({ limit: PAGE, cursor });
      setPage(before => ({ letters: cursor ? [...before.letters, ...dead_letters] : dead_letters, next }));
    } catch (error) {
      setProblem(explain(error));
    }
  };
  React.useEffect(() => void more(), []);
  const gone = (id: string): void =>
    setPage(before => ({ ...before, letters: before.letters.filter(letter => letter.id !== id) }));
  return (
    <section aria-label={trans.__("Dead letters")}>
      <h3 className="po-House-title">{trans.__("Dead letters")}</h3>
      {page.next === null && !page.letters.length && <EmptyState>{trans.__("No run is dead.")}</EmptyState>}
      <ul className="po-List">
        {page.letters.map(letter => (
          <li key={letter.id}>
            <Letter letter={letter} api={api} open={open} requeued={requeued} gone={gone} />
          </li>
        ))}
      </ul>
      {problem && (
        <ErrorBox failure={problem}>
          <Button label={trans.__("Try again")} onClick={() => void more(page.next ?? undefined)} />
        </ErrorBox>
      )}
      {page.next && !problem && (
        <div className="po-Section-end">
          <Button label={trans.__("Load older")} onClick={() => void more(page.next ?? undefined)} />
        </div>
      )}
    </section>
  );
}

interface LetterProps extends DeadLettersProps {
  letter: DeadLetter;
  gone: (id: string) => void;
}

function Letter({ letter, api, open, requeued, gone }: LetterProps): JSX.Element {
  const trans = useTrans();
  const [busy, setBusy] = React.useState("");
  const [problem, setProblem] = React.useState<Failure | null>(null);
  const attempt = async (verb: string, work: () => Promise<unknown>): Promise<void> => {
    setBusy(verb);
    setProblem(null);
    try {
      await work();
      gone(letter.id);
    } catch (error) {
      setProblem(explain(error));
    }
    setBusy("");
  };
  const discard = async (): Promise<void> => {
    const sure = await confirm({
      title: trans.__("Discard %1?", letter.name),
      body: trans.__("The run, its outputs and its files are removed for good."),
      word: trans.__("Discard")
    });
    if (sure) {
      await attempt("discard", () => api.discard(letter.id));
    }
  };
  return (
    <article className="po-Letter po-is-dead" aria-label={letter.name}>
      <div className="po-Run-name">{letter.name}</div>
      <div className="po-Letter-line">
        {[
          `${letter.pipeline} ${letter.version}`,
          new Date(timestamp(letter.died_at) * 1000).toLocaleString(),
          place(letter),
          trans.__("%1 of %2 tasks done", letter.tasks.done, letter.tasks.total),
          ...(letter.crashes ? [trans._n("%1 crash", "%1 crashes", letter.crashes)] : [])
        ].join(" · ")}
      </div>
      {letter.error && <ErrorBox failure={letter.error} brief />}
      {letter.log && (
        <details className="po-Letter-log">
          <summary>{trans.__("End of its log")}</summary>
          <pre tabIndex={0}>{letter.log}</pre>
        </details>
      )}
      {problem && <ErrorBox failure={problem} />}
      <div className="po-Buttons">
        <Button label={trans.__("Open")} description={letter.name} onClick={() => open(letter.id)} />
        <Button
          label={trans.__("Discard")}
          description={letter.name}
          doing={busy === "discard" ? trans.__("Discarding…") : null}
          disabled={!!busy}
          onClick={() => void discard()}
        />
        <Button
          label={trans.__("Requeue")}
          description={letter.name}
          title={trans.__("Try this run again, from where it died. What is finished is not paid again.")}
          doing={busy === "requeue" ? trans.__("Requeueing…") : null}
          disabled={!!busy}
          onClick={() => void attempt("requeue", async () => requeued(await api.requeue(letter.id)))}
        />
      </div>
    </article>
  );
}

/** "label · inference · attempt 2": where it was. */
function place({ task, stage, attempt }: DeadLetter): string {
  return task === null ? "" : [task, ...(stage ? [stage] : []), ...(attempt ? [language.trans.__("attempt %1", attempt)] : [])].join(" · ");
}
