import * as React from "react";
import { explain } from "../api/errors.js";
import type { Failure } from "../api/types.js";

export interface Answer<T> {
  data: T | null;
  problem: Failure | null;
  /** Ask again; what is known stays until the answer is there. */
  reload: () => void;
}

/** The answer to a question that is asked when this is first shown, and again when `key` changes. */
export function useAnswer<T>(ask: () => Promise<T>, key = ""): Answer<T> {
  const [data, setData] = React.useState<T | null>(null);
  const [problem, setProblem] = React.useState<Failure | null>(null);
  const [round, setRound] = React.useState(0);
  React.useEffect(() => {
    let current = true;
    setProblem(null);
    ask().then(
      found => current && setData(found),
      error => current && setProblem(explain(error))
    );
    return () => {
      current = false;
    };
  }, [key, round]);
  return { data, problem, reload: () => setRound(before => before + 1) };
}
