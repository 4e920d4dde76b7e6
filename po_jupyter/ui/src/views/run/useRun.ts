/** The run of a page, live while the page can be seen. */

import * as React from "react";
import { explain } from "../../api/client.js";
import type { LiveEvent, Link } from "../../api/events.js";
import type { Failure, Run, Text } from "../../api/types.js";
import { isOlder } from "../../api/types.js";
import type { IPoLive } from "../../tokens.js";
import type { RunSource } from "./source.js";

/** What a model is saying now: the last of it. */
export interface Speech {
  task: string;
  item: number | null;
  round: number;
  text: string;
}

export interface LiveRun {
  run: Run | null;
  speech: Speech | null;
  link: Link;
  /** Why there is no run to show. */
  problem: Failure | null;
  gone: boolean;
  again: () => void;
  answered: (run: Run) => void;
}

interface Known {
  run: Run | null;
  speech: Speech | null;
  link: Link;
  problem: Failure | null;
  gone: boolean;
}

type Step = LiveEvent | { type: "problem"; problem: Failure };

const TAIL = 600;
/** Milliseconds in which changes are collected before they are drawn. */
const FRAME = 50;
const NOTHING: Known = { run: null, speech: null, link: { state: "idle" }, problem: null, gone: false };

/** What is known after an event. Pure. */
export function after(known: Known, step: Step): Known {
  switch (step.type) {
    case "link":
      // What was said while nobody listened would leave a hole in the text.
      return { ...known, link: step.link, speech: step.link.state === "live" ? known.speech : null };
    case "run":
      if (known.run && isOlder(step.run, known.run)) {
        return known; // an answer that the stream has overtaken
      }
      return { ...known, run: step.run, problem: null, gone: false };
    case "gone":
      return { ...known, gone: true };
    case "text":
      return { ...known, speech: joined(known.speech, step.text) };
    case "problem":
      return { ...known, problem: step.problem };
    case "snapshot":
      return known;
  }
}

function joined(before: Speech | null, piece: Text): Speech {
  const { task, item = null, round = 0 } = piece;
  const goesOn = before?.task === task && before.item === item && before.round === round;
  return { task, item, round, text: ((goesOn ? before.text : "") + piece.text).slice(-TAIL) };
}

/** `visible`: without it nothing is asked and nothing is watched. */
export function useRun(source: RunSource, live: IPoLive, visible: boolean): LiveRun {
  const known = React.useRef(NOTHING);
  const [shown, show] = React.useState(NOTHING);
  const timer = React.useRef<ReturnType<typeof setTimeout>>();
  const step = React.useCallback((next: Step) => {
    known.current = after(known.current, next);
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      show(known.current);
    }, FRAME);
  }, []);
  const load = React.useCallback(
    async (signal?: AbortSignal) => {
      try {
        const run = await source.brief(signal);
        step({ type: "run", run });
        return run;
      } catch (error) {
        if (!signal?.aborted) {
          step({ type: "problem", problem: explain(error) });
        }
        return null;
      }
    },
    [source]
  );
  const reload = React.useRef<() => void>(() => void load());
  React.useEffect(() => {
    if (!visible) {
      return;
    }
    const ended = new AbortController();
    let watched: string | null = null;
    let stop: (() => void) | undefined;
    const watch = (id: string): void => {
      let heard = false;
      let missed = false;
      const before = stop;
      watched = id;
      stop = live.watch(id, event => {
        step(event);
        if (event.type !== "link") {
          return;
        }
        if (event.link.state === "live") {
          if (heard || missed) {
            void read(); // the stream's snapshot has only the newest runs
          }
          heard = true;
          missed = false;
        } else if (event.link.state === "lost") {
          missed = true;
        }
      });
      before?.(); // last, so that the stream stays open
    };
    const read = async (): Promise<void> => {
      const run = await load(ended.signal);
      // Short ids are good for requests; the stream knows the whole ones.
      const id = run?.id ?? watched ?? source.id;
      if (!ended.signal.aborted && id !== watched) {
        watch(id);
      }
    };
    reload.current = () => void read();
    void read();
    return () => {
      ended.abort();
      stop?.();
    };
  }, [source, live, visible]);
  React.useEffect(() => () => clearTimeout(timer.current), []);
  const answered = React.useCallback((run: Run) => step({ type: "run", run }), []);
  return { ...shown, again: () => reload.current(), answered };
}
