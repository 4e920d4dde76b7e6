import * as React from "react";
import type { Failure } from "../api/types.js";
import { userTraceback } from "../format/run.js";

/** What went wrong, what to do next, and the person's own lines that raised it. */
export function ErrorBox({ failure, children }: { failure: Failure; children?: React.ReactNode }): JSX.Element {
  const traceback = userTraceback(failure);
  return (
    <div className="po-Problem">
      <div className="po-Problem-message">{failure.message}</div>
      {failure.hint && <div className="po-Problem-hint">{failure.hint}</div>}
      {traceback && (
        <pre className="po-Problem-traceback" tabIndex={0} aria-label="Traceback">
          {traceback}
        </pre>
      )}
      {children}
    </div>
  );
}
