import * as React from "react";
import type { Estimate } from "../../api/answers.js";
import type { Api } from "../../api/client.js";
import { explain } from "../../api/errors.js";
import { StartKey } from "../../api/startKey.js";
import type { Failure, Run } from "../../api/types.js";
import { Button } from "../../components/Button.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { useTrans } from "../../components/translation.js";
import { useAnswer } from "../../components/useAnswer.js";
import { grouped } from "../../format/numbers.js";
import { AnalysisView } from "./AnalysisView.js";
import { EstimateView } from "./EstimateView.js";
import type { ChosenFrame } from "./FrameChooser.js";
import { FrameChooser } from "./FrameChooser.js";
import type { KernelValues } from "./kernelValues.js";
import { fileTexts, rowsField, seedData, seedFields, shownFields } from "./seed.js";

interface StartFormProps {
  api: Api;
  /** The frames of notebooks, where there are notebooks. */
  values?: KernelValues | null;
  name: string;
  definition: Record<string, unknown>;
  started: (run: Run) => void;
}

interface Settings {
  title: string;
  limit: string;
  budget: string;
  model: string;
}

type Frames = Readonly<Record<string, ChosenFrame>>;

/** What POST runs and POST runs/estimate take. An empty field is not sent. */
function bodyOf(pipeline: string, texts: Record<string, string>, frames: Frames, settings: Settings): Record<string, unknown> {
  const { title, limit, budget, model } = settings;
  const seeds = Object.values(frames).map(frame => frame.seed);
  const index = Object.assign({}, ...seeds.map(seed => seed.index)) as Record<string, unknown>;
  return {
    pipeline,
    seed: {
      name: title.trim() || pipeline,
      data: Object.assign(seedData(texts), ...seeds.map(seed => seed.data)),
      ...(Object.keys(index).length && { index })
    },
    ...(budget && { budget: { usd: Number(budget) } }),
    ...((limit || model) && { options: { ...(limit && { limit: Number(limit) }), ...(model && { model: model.trim() }) } })
  };
}

export function StartForm({ api, values, name, definition, started }: StartFormProps): JSX.Element {
  const trans = useTrans();
  const fields = React.useMemo(() => seedFields(definition), [definition]);
  const [texts, setTexts] = React.useState<Record<string, string>>({});
  const [settings, setSettings] = React.useState<Settings>({ title: "", limit: "", budget: "", model: "" });
  const [estimate, setEstimate] = React.useState<Estimate | null>(null);
  const [problem, setProblem] = React.useState<Failure | null>(null);
  const [busy, setBusy] = React.useState<"estimate" | "start" | null>(null);
  const [frames, setFrames] = React.useState<Frames>({});
  const [choosing, setChoosing] = React.useState(false);
  const models = useAnswer(() => api.models());
  const analysis = useAnswer(() => api.analysis(name), name);
  const listId = React.useId();
  const [startKey] = React.useState(() => new StartKey());
  /** Of the form as it is filled now: an estimate of an earlier one is dropped. */
  const edition = React.useRef(0);

  const edited = (): void => {
    edition.current += 1;
    setEstimate(null); // it was of another seed
  };
  const change = (more: Record<string, string>): void => {
    setTexts(before => ({ ...before, ...more }));
    edited();
  };
  const set = (more: Partial<Settings>): void => {
    setSettings(before => ({ ...before, ...more }));
    edited();
  };
  const ask = async (what: "estimate" | "start", request: () => Promise<void>): Promise<void> => {
    setBusy(what);
    setProblem(null);
    try {
      await request();
    } catch (error) {
      setProblem(explain(error));
    }
    setBusy(null);
  };
  const start = async (): Promise<void> => {
    const run = await api.submit(startKey.of(bodyOf(name, texts, frames, settings)));
    startKey.done();
    started(run);
  };
  const reckon = async (): Promise<void> => {
    const asked = edition.current;
    const found = await api.estimate(bodyOf(name, texts, frames, settings));
    if (asked === edition.current) {
      setEstimate(found);
    }
  };
  const read = async (file: File | undefined): Promise<void> => {
    if (!file) {
      return;
    }
    try {
      change(fileTexts(file.name, await file.text(), fields));
      setProblem(null);
    } catch (error) {
      setProblem({ code: "file", message: (error as Error).message });
    }
  };

  const rows = rowsField(fields);
  const choose = (frame: ChosenFrame): void => {
    setFrames(before => ({ ...before, [rows!.name]: frame }));
    setChoosing(false);
    edited();
  };
  const drop = (field: string): void => {
    setFrames(({ [field]: _, ...others }) => others);
    edited();
  };
  const shown = estimate?.analysis ?? analysis.data;

  return (
    <form
      className="po-Form"
      aria-label={trans.__("Start %1", name)}
      onSubmit={event => {
        event.preventDefault();
        if (!busy) {
          void ask("start", start);
        }
      }}
      onDragOver={event => event.preventDefault()}
      onDrop={event => {
        event.preventDefault();
        void read(event.dataTransfer.files[0]);
      }}
    >
      {shown && <AnalysisView analysis={shown} />}
      {analysis.problem && <ErrorBox failure={analysis.problem} />}
      {shownFields(fields, texts).map(field =>
        frames[field.name] ? (
          <ChosenRows key={field.name} field={field.name} frame={frames[field.name]!} drop={() => drop(field.name)} />
        ) : (
          <label key={field.name}>
            <span>{field.isList ? trans.__("%1 (a list, as JSON)", field.name) : field.name}</span>
            <textarea
              className="po-Input"
              rows={field.isList ? 3 : 1}
              value={texts[field.name] ?? ""}
              onChange={event => change({ [field.name]: event.target.value })}
            />
          </label>
        )
      )}
      <label>
        <span>{trans.__("Fill from a JSON or CSV file (or drop one here)")}</span>
        <input
          type="file"
          accept=".json,.csv,.tsv"
          onChange={event => void read(event.target.files?.[0])}
        />
      </label>
      {values && rows && !choosing && (
        <div className="po-Buttons">
          <Button
            label={trans.__("Rows from a notebook…")}
            title={trans.__("A DataFrame of a live kernel becomes %1", rows.name)}
            onClick={() => setChoosing(true)}
          />
        </div>
      )}
      {values && rows && choosing && (
        <FrameChooser values={values} field={rows.name} chosen={choose} close={() => setChoosing(false)} />
      )}
      <div className="po-Filters-more">
        <label>
          <span>{trans.__("Name")}</span>
          <input
            className="po-Input"
            value={settings.title}
            placeholder={name}
            onChange={event => set({ title: event.target.value })}
          />
        </label>
        <label>
          <span>{trans.__("Rows at most")}</span>
          <input
            className="po-Input"
            type="number"
            min={1}
            value={settings.limit}
            onChange={event => set({ limit: event.target.value })}
          />
        </label>
        <label>
          <span>{trans.__("Budget (USD)")}</span>
          <input
            className="po-Input"
            type="number"
            min={0}
            step="any"
            value={settings.budget}
            onChange={event => set({ budget: event.target.value })}
          />
        </label>
        <label>
          <span>{trans.__("Model")}</span>
          <input
            className="po-Input"
            list={listId}
            value={settings.model}
            placeholder={trans.__("as in the pipeline")}
            onChange={event => set({ model: event.target.value })}
          />
          <datalist id={listId}>
            {(models.data ?? []).filter(model => model.usable).slice(0, 300).map(model => (
              <option key={model.ref} value={model.ref} />
            ))}
          </datalist>
        </label>
      </div>
      {problem && <ErrorBox failure={problem} />}
      {estimate && <EstimateView estimate={estimate} />}
      <div className="po-Buttons">
        <Button
          label={trans.__("Estimate")}
          title={trans.__("Calls, tokens and money of this run, before it is started")}
          doing={busy === "estimate" ? trans.__("Estimating…") : null}
          disabled={!!busy}
          onClick={() => void ask("estimate", reckon)}
        />
        <button type="submit" className="po-Button po-is-accent" aria-disabled={!!busy || undefined}>
          {busy === "start" ? trans.__("Starting…") : trans.__("Start")}
        </button>
      </div>
    </form>
  );
}

/** A field that a frame of a notebook fills. */
function ChosenRows({ field, frame, drop }: { field: string; frame: ChosenFrame; drop: () => void }): JSX.Element {
  const trans = useTrans();
  return (
    <div className="po-Frames-chosen">
      <span>{`${field}: ${frame.name} · ${trans.__("%1 rows", grouped(frame.rows))} · ${frame.path}`}</span>
      <Button label={trans.__("Remove")} description={frame.name} onClick={drop} />
    </div>
  );
}
