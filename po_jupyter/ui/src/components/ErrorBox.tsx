import * as React from "react";
import type { Failure } from "../api/types.js";
import { useTrans } from "./translation.js";
import { userTraceback } from "../format/run.js";

interface ErrorBoxProps {
  failure: Failure;
  /** Without the traceback. */
  brief?: boolean;
  children?: React.ReactNode;
}

/** What went wrong, what to do next, and the person's own lines that raised it. */
export function ErrorBox({ failure, brief, children }: ErrorBoxProps): JSX.Element {
  const trans = useTrans();
  const traceback = brief ? "" : userTraceback(failure);
  return (
    <div className="po-Problem">
      <div className="po-Problem-message">{failure.message}</div>
      {failure.hint && <div className="po-Problem-hint">{failure.hint}</div>}
      {traceback && (
        <pre className="po-Problem-traceback" tabIndex={0} aria-label={trans.__("Traceback")}>
          {traceback}
        </pre>
      )}
      {children}
    </div>
  );
}
