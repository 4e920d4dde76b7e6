/** Something that is asked of the server, and again when the run went on. */

import * as React from "react";
import { explain } from "../../api/client.js";
import type { Failure } from "../../api/types.js";

/** Milliseconds between two loads of the same thing while a run goes on. */
const PAUSE = 1500;

export interface Resource<T> {
  /** The newest answer; undefined until the first one. */
  value: T | undefined;
  problem: Failure | null;
  again: () => void;
}

/**
 * Loads when `key` changes (what was there before is forgotten) and when `version` changes (what is shown stays until
 * the newer answer is here), the latter at most every 1.5 s.
 */
export function useResource<T>(
  load: (signal: AbortSignal) => Promise<T>,
  key: string,
  version: number | string
): Resource<T> {
  const [shown, setShown] = React.useState<{ key: string; value?: T; problem: Failure | null }>({ key, problem: null });
  const [tries, setTries] = React.useState(0);
  const latest = React.useRef(load);
  latest.current = load;
  const loaded = React.useRef({ key: "", at: 0 });
  React.useEffect(() => {
    const request = new AbortController();
    const begin = async (): Promise<void> => {
      loaded.current = { key, at: Date.now() };
      try {
        const value = await latest.current(request.signal);
        if (!request.signal.aborted) {
          setShown({ key, value, problem: null });
        }
      } catch (error) {
        if (!request.signal.aborted) {
          setShown(before => ({ ...(before.key === key ? before : { key }), problem: explain(error) }));
        }
      }
    };
    const since = Date.now() - loaded.current.at;
    const wait = loaded.current.key === key ? Math.max(0, PAUSE - since) : 0;
    const timer = setTimeout(() => void begin(), wait);
    return () => {
      clearTimeout(timer);
      request.abort();
    };
  }, [key, version, tries]);
  const again = React.useCallback(() => {
    loaded.current.at = 0;
    setTries(count => count + 1);
  }, []);
  const current = shown.key === key ? shown : { value: undefined, problem: null };
  return { value: current.value, problem: current.problem, again };
}
