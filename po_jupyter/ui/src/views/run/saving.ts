/** Files that a run's page is fetching to save them: it goes on in another tab of the page, and ends with the page. */

import * as React from "react";
import { explain } from "../../api/client.js";
import type { Failure } from "../../api/types.js";
import { download } from "./parts.js";

export interface SavedFile {
  content: Blob;
  name: string;
}

/** `progress` takes how much is here. */
export type Fetching = (signal: AbortSignal, progress: (rows: number) => void) => Promise<SavedFile>;

export interface Saving {
  /** How much is here of what is being fetched, by its key. */
  saving: ReadonlyMap<string, number>;
  /** Fetches a file and gives it to the browser; does nothing while the same one is being fetched. */
  save: (key: string, fetching: Fetching) => void;
}

export function useSaving(refused: (failure: Failure) => void): Saving {
  const [saving, setSaving] = React.useState<ReadonlyMap<string, number>>(new Map());
  const underway = React.useRef(new Map<string, AbortController>());
  React.useEffect(() => () => underway.current.forEach(request => request.abort()), []);
  const save = React.useCallback((key: string, fetching: Fetching): void => {
    if (underway.current.has(key)) {
      return;
    }
    const request = new AbortController();
    underway.current.set(key, request);
    const progress = (rows: number): void => setSaving(before => new Map(before).set(key, rows));
    const work = async (): Promise<void> => {
      progress(0);
      try {
        const file = await fetching(request.signal, progress);
        if (!request.signal.aborted) {
          download(file.content, file.name);
        }
      } catch (error) {
        if (!request.signal.aborted) {
          refused(explain(error));
        }
      }
      underway.current.delete(key);
      setSaving(before => new Map([...before].filter(([other]) => other !== key)));
    };
    void work();
  }, []);
  return { saving, save };
}
