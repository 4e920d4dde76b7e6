/** The page of one run: how it stands, and what is in it, a tab for each kind of thing. React escapes all text (P6). */

import * as React from "react";
import { Button } from "../../components/Button.js";
import type { TranslationBundle } from "@jupyterlab/translation";
import { hasEnded } from "../../api/types.js";
import type { Run } from "../../api/types.js";
import { Tabs } from "../../components/Tabs.js";
import { Translation } from "../../components/translation.js";
import { useNow } from "../../components/useNow.js";
import type { IPoLive } from "../../tokens.js";
import { CallsTab } from "./calls/CallsTab.js";
import { CompareTab } from "./compare/CompareTab.js";
import { PageProvider } from "./context.js";
import type { Host, Page } from "./context.js";
import { DataTab } from "./data/DataTab.js";
import { FilesTab } from "./files/FilesTab.js";
import { Header } from "./Header.js";
import { LogsTab } from "./logs/LogsTab.js";
import { MoneyTab } from "./money/MoneyTab.js";
import { Empty, Unloaded } from "./parts.js";
import { TABS } from "./pageState.js";
import type { PageState, Patch, Tab } from "./pageState.js";
import { RowsTab } from "./rows/RowsTab.js";
import type { RunSource } from "./source.js";
import { TasksTab } from "./tasks/TasksTab.js";
import { useRun } from "./useRun.js";
import type { LiveRun } from "./useRun.js";
import { VerbsProvider, useVerbSet } from "./verbs.js";

interface RunPageProps {
  source: RunSource;
  live: IPoLive;
  visible: boolean;
  state: PageState;
  patch: (patch: Patch) => void;
  host: Host;
  trans: TranslationBundle;
  /** The run is known, or has another name. */
  onRun: (run: Run) => void;
}

const VIEWS: Record<Tab, () => JSX.Element> = {
  tasks: TasksTab,
  rows: RowsTab,
  compare: CompareTab,
  calls: CallsTab,
  logs: LogsTab,
  data: DataTab,
  files: FilesTab,
  money: MoneyTab
};

export function RunPage(props: RunPageProps): JSX.Element {
  const { source, live, visible, trans, onRun } = props;
  const known = useRun(source, live, visible);
  React.useEffect(() => {
    if (known.run) {
      onRun(known.run);
    }
  }, [known.run?.id, known.run?.name]);
  if (known.gone) {
    return <Empty>{trans.__("This run was deleted.")}</Empty>;
  }
  if (!known.run) {
    return known.problem ? (
      <Unloaded failure={known.problem} again={known.again} word={trans.__("Try again")} />
    ) : (
      <Empty>{trans.__("Loading…")}</Empty>
    );
  }
  return <Known {...props} known={known} run={known.run} />;
}

function Known({ known, run, ...props }: RunPageProps & { known: LiveRun; run: Run }): JSX.Element {
  const { source, live, state, patch, host, trans, visible } = props;
  const now = useNow(visible && !hasEnded(run));
  const page: Page = { run, source, live, visible, state, patch, host, trans, now, speech: known.speech, answered: known.answered };
  const verbs = useVerbSet(page);
  const panelId = `po-page-${run.id}`;
  const tabs = tabsOf(run, state.compare.run, trans);
  // A link may name the tab of a comparison that only its sender had.
  const current = tabs.some(tab => tab.id === state.tab) ? state.tab : "tasks";
  const View = VIEWS[current];
  return (
    <PageProvider value={page}>
      <Translation.Provider value={trans}>
      <VerbsProvider value={verbs}>
        <Header />
        <Lost known={known} retryNow={() => live.retryNow()} trans={trans} />
        <Tabs
          label={trans.__("Parts of the run")}
          tabs={tabs}
          current={current}
          panelId={panelId}
          onChange={tab => patch({ tab: tab as Tab })}
        />
        <div
          className={`po-TabPanel po-is-${current}-tab`}
          role="tabpanel"
          id={panelId}
          aria-label={tabs.find(tab => tab.id === current)?.label}
          tabIndex={0}
          data-tab={current}
        >
          <View />
        </div>
      </VerbsProvider>
      </Translation.Provider>
    </PageProvider>
  );
}

function tabsOf(run: Run, other: string, trans: TranslationBundle): { id: Tab; label: string }[] {
  const labels: Record<Tab, string> = {
    tasks: trans.__("Tasks"),
    rows: trans.__("Rows"),
    compare: trans.__("Compare"),
    calls: trans.__("Calls"),
    logs: trans.__("Logs"),
    data: trans.__("Data"),
    files: trans.__("Files"),
    money: trans.__("Money")
  };
  const shown: Partial<Record<Tab, boolean>> = { rows: run.tasks.some(task => task.items), compare: other !== "" };
  return TABS.filter(name => shown[name] ?? true).map(id => ({ id, label: labels[id] }));
}

function Lost({ known, retryNow, trans }: { known: LiveRun; retryNow: () => void; trans: TranslationBundle }): JSX.Element | null {
  if (known.link.state !== "lost") {
    return null;
  }
  return (
    <div className="po-Lost" role="alert">
      {known.link.problem.message} {known.link.problem.hint} <Button label={trans.__("Try now")} onClick={retryNow} />
    </div>
  );
}
