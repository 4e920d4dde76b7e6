import * as React from "react";
import { Button } from "../../components/Button.js";
import { EmptyState } from "../../components/EmptyState.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { useTrans } from "../../components/translation.js";
import { useAnswer } from "../../components/useAnswer.js";
import { grouped } from "../../format/numbers.js";
import type { FrameSeed, KernelValues, LiveFrame } from "./kernelValues.js";

/** A frame that was chosen for a field of the seed. */
export interface ChosenFrame {
  name: string;
  path: string;
  rows: number;
  seed: FrameSeed;
}

interface FrameChooserProps {
  values: KernelValues;
  /** The field of the seed that gets the rows. */
  field: string;
  chosen: (frame: ChosenFrame) => void;
  close: () => void;
}

/** First the kernels, which are only listed; in the chosen one the frames; then the rows of one of them. */
export function FrameChooser({ values, field, chosen, close }: FrameChooserProps): JSX.Element {
  const trans = useTrans();
  const { data: kernels, problem, reload } = useAnswer(() => values.kernels());
  const [kernel, setKernel] = React.useState("");
  const [frames, setFrames] = React.useState<LiveFrame[] | null>(null);
  const [refused, setRefused] = React.useState("");
  const [busy, setBusy] = React.useState("");
  const path = kernels?.find(each => each.id === kernel)?.path ?? "";

  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    setBusy(what);
    setRefused("");
    try {
      await work();
    } catch (error) {
      setRefused((error as Error).message);
    }
    setBusy("");
  };
  // Not `disabled` while a kernel is asked: that would take the focus from whoever chose by keyboard.
  const look = (id: string): void => {
    if (busy) {
      return;
    }
    setKernel(id);
    setFrames(null);
    if (id) {
      void attempt(id, async () => setFrames(await values.frames(id)));
    }
  };
  const take = (frame: LiveFrame): void => {
    if (!busy) {
      void attempt(frame.name, async () => {
        const seed = await values.seed(kernel, frame.name, field);
        chosen({ name: frame.name, path, rows: frame.rows, seed });
      });
    }
  };

  return (
    <div className="po-Frames" role="group" aria-label={trans.__("A DataFrame of a notebook")}>
      {problem && (
        <ErrorBox failure={problem}>
          <Button label={trans.__("Try again")} onClick={reload} />
        </ErrorBox>
      )}
      {kernels?.length === 0 && <EmptyState>{trans.__("No notebook has a Python kernel.")}</EmptyState>}
      {!!kernels?.length && (
        <label>
          <span>{trans.__("Notebook (its kernel lists its DataFrames)")}</span>
          <select className="po-Input" value={kernel} aria-disabled={!!busy || undefined} onChange={event => look(event.target.value)}>
            <option value="">{trans.__("Choose…")}</option>
            {kernels.map(each => (
              <option key={each.id} value={each.id}>
                {each.busy ? trans.__("%1 (at work)", each.path) : each.path}
              </option>
            ))}
          </select>
        </label>
      )}
      {refused && <ErrorBox failure={{ code: "kernel", message: refused }} />}
      {busy && <div role="status">{trans.__("The kernel is asked…")}</div>}
      {frames && !frames.length && <EmptyState>{trans.__("This notebook has no DataFrame.")}</EmptyState>}
      {!!frames?.length && (
        <ul className="po-List">
          {frames.map(frame => (
            <li key={frame.name}>
              <button
                type="button"
                className="po-Frames-one"
                aria-disabled={!!busy || undefined}
                title={frame.columns.join(", ")}
                onClick={() => take(frame)}
              >
                <span className="po-Run-name">{frame.name}</span>
                <span className="po-Run-spent">
                  {`${trans._n("%1 row", "%1 rows", frame.rows).replace(String(frame.rows), grouped(frame.rows))} · ${columns(frame)}`}
                </span>
              </button>
            </li>
          ))}
        </ul>
      )}
      <div className="po-Buttons">
        <Button label={trans.__("Close")} onClick={close} />
      </div>
    </div>
  );
}

/** "text, id" or "text, id, … (80)". */
function columns({ columns, width }: LiveFrame): string {
  const first = columns.slice(0, 4);
  return first.length < width ? `${first.join(", ")}, … (${width})` : first.join(", ");
}
