/** The whole of the panel's face: how the connection stands, the tabs, and what the current one shows. */

import * as React from "react";
import type { Link } from "../api/events.js";
import type { Run } from "../api/types.js";
import type { Api } from "../api/client.js";
import { Button } from "../components/Button.js";
import { Tabs } from "../components/Tabs.js";
import { useTrans } from "../components/translation.js";
import { useNow } from "../components/useNow.js";
import type { State } from "../state/reducer.js";
import type { ScrollMemory } from "../state/ScrollMemory.js";
import type { Store } from "../state/store.js";
import type { KernelValues } from "../views/pipelines/kernelValues.js";
import type { Verbs } from "../views/runs/actions.js";
import { RunsView } from "../views/runs/RunsView.js";
import type { RunLoader } from "./RunLoader.js";
import type { TranslationBundle } from "@jupyterlab/translation";
import { stateName } from "../format/language.js";

// Loaded when they are first looked at.
const PipelinesView = React.lazy(() => import("../views/pipelines/PipelinesView.js"));
const UsageView = React.lazy(() => import("../views/usage/UsageView.js"));
const HouseView = React.lazy(() => import("../views/house/HouseView.js"));

interface PanelViewProps {
  api: Api;
  kernels: KernelValues | null;
  store: Store;
  verbs: Verbs;
  loader: RunLoader;
  scroll: ScrollMemory;
  openRun: (id: string) => void;
  retryNow: () => void;
}

export function PanelView({ api, kernels, store, verbs, loader, scroll, openRun, retryNow }: PanelViewProps): JSX.Element {
  const trans = useTrans();
  const state = React.useSyncExternalStore(store.subscribe, store.get);
  const scroller = React.useRef<HTMLDivElement>(null);
  const panelId = React.useId();
  const [newest, setNewest] = React.useState("");
  const tabs = [
    { id: "runs", label: trans.__("Runs") },
    { id: "pipelines", label: trans.__("Pipelines") },
    { id: "usage", label: trans.__("Usage") },
    { id: "house", label: trans.__("System") }
  ];
  const show = (id: string): void => store.dispatch({ type: "tab", tab: id });
  const started = (run: Run): void => {
    store.dispatch({ type: "run", run });
    show("runs");
    setNewest(run.id);
  };
  React.useEffect(() => {
    // The form that started it is gone: the keyboard goes to what came of it.
    const head = newest && scroller.current?.querySelector<HTMLElement>(`[data-run="${newest}"] .po-Run-head`);
    if (head) {
      head.focus();
      setNewest("");
    }
  });
  const requeued = (run: Run): void => store.dispatch({ type: "run", run });
  const tab = tabs.some(each => each.id === state.tab) ? state.tab : "runs";
  // Again when the runs are known: what was saved has been read by then, and there is something to scroll.
  React.useLayoutEffect(() => scroll.show(scroller.current!, tab), [tab, scroll, state.known]);
  return (
    <>
      <div className="po-Panel-head">
        <h2 className="po-Panel-title">{trans.__("Prompt runs")}</h2>
        <span className="po-Panel-link" data-link={state.link.state}>
          {linkWords(state, trans)}
        </span>
      </div>
      <Tabs tabs={tabs} current={tab} panelId={panelId} label={trans.__("Parts of the panel")} onChange={show} />
      <News runs={state.runs} />
      {state.link.state === "lost" && <Lost link={state.link} retryNow={retryNow} />}
      <div
        className="po-Scroll"
        ref={scroller}
        id={panelId}
        role="tabpanel"
        aria-label={tabs.find(each => each.id === tab)?.label}
      >
        {tab === "runs" && (
          <RunsView state={state} verbs={verbs} scroller={scroller} older={loader.older} filter={loader.filter} />
        )}
        <React.Suspense fallback={null}>
          {tab === "pipelines" && <PipelinesView api={api} values={kernels} started={started} />}
          {tab === "usage" && <UsageView api={api} />}
          {tab === "house" && <HouseView api={api} open={openRun} requeued={requeued} />}
        </React.Suspense>
      </div>
    </>
  );
}

function linkWords(state: State, trans: TranslationBundle): string {
  switch (state.link.state) {
    case "live": {
      const count = (word: Run["state"]): number =>
        [...state.runs.values()].filter(run => run.state === word).length;
      const [running, queued, waiting] = [count("running"), count("pending"), count("waiting")];
      const words = [
        running && (state.limit === null ? trans.__("%1 running", running) : trans.__("%1 of %2 running", running, state.limit)),
        queued && trans.__("%1 queued", queued),
        waiting && trans.__("%1 waiting", waiting)
      ];
      return [trans.__("live"), ...words.filter(Boolean)].join(" · ");
    }
    case "lost":
      return trans.__("not connected");
    default:
      return trans.__("connecting…");
  }
}

function Lost({ link, retryNow }: { link: Link & { state: "lost" }; retryNow: () => void }): JSX.Element {
  const trans = useTrans();
  const now = useNow(true);
  const seconds = Math.max(0, Math.ceil(link.retryAt / 1000 - now));
  return (
    <div className="po-Lost">
      <div role="alert">
        <div>{link.problem.message}</div>
        {link.problem.hint && <div className="po-Problem-hint">{link.problem.hint}</div>}
      </div>
      <div className="po-Lost-next">
        <span>{trans.__("Trying again in %1 s", seconds)}</span>
        <Button label={trans.__("Try now")} onClick={retryNow} />
      </div>
    </div>
  );
}

/** Says to a screen reader what changed, and only that: the list itself changes many times a second. */
function News({ runs }: { runs: State["runs"] }): JSX.Element {
  const seen = React.useRef<State["runs"]>(runs);
  const trans = useTrans();
  const [news, setNews] = React.useState("");
  React.useEffect(() => {
    // Runs that came with an older page are no news.
    const changed = [...runs.values()].filter(run => {
      const before = seen.current.get(run.id);
      return before && before.state !== run.state;
    });
    seen.current = runs;
    if (changed.length) {
      setNews(changed.map(run => trans.__("%1 is %2", run.name, stateName(run.state))).join(", "));
    }
  }, [runs]);
  return (
    <div className="po-Hidden" role="status" aria-live="polite">
      {news}
    </div>
  );
}
