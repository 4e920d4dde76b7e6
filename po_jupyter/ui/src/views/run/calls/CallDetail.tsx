/** One call in whole: what was sent, what came back, and what it took. */

import * as React from "react";
import { Button } from "../../../components/Button.js";
import { ErrorBox } from "../../../components/ErrorBox.js";
import { usePage } from "../context.js";
import { JsonTree } from "../data/JsonTree.js";
import { Unloaded, count, dollars, seconds } from "../parts.js";
import { useResource } from "../resource.js";
import type { Message, WholeCall } from "../shapes.js";
import { rowWord } from "../../../format/run.js";

interface CallDetailProps {
  n: number;
  /** Where it stands when there are two. */
  side: "only" | "left" | "right";
  close?: () => void;
}

export function CallDetail({ n, side, close }: CallDetailProps): JSX.Element {
  const { run, source, patch, trans } = usePage();
  const { value: call, problem, again } = useResource(signal => source.call(n, signal), `${run.id} ${n}`, run.last_event);
  return (
    <section className="po-Detail" aria-label={trans.__("Call %1", n)} data-call={n}>
      <div className="po-Detail-head">
        <h3>{trans.__("Call %1", n)}</h3>
        <span className="po-Verbs">
          {side === "only" && <Button label={trans.__("Compare")} title={trans.__("Keep this call, and choose another one to stand beside it")} onClick={() => patch({ calls: { beside: n } })} />}
          {side === "left" && <Button label={trans.__("Only the other")} onClick={() => patch({ calls: { beside: null } })} />}
          {close && <Button label={trans.__("Close")} onClick={close} />}
        </span>
      </div>
      {problem && !call && <Unloaded failure={problem} again={again} word={trans.__("Try again")} />}
      {call && <Whole call={call} />}
    </section>
  );
}

function Whole({ call }: { call: WholeCall }): JSX.Element {
  const { trans } = usePage();
  const facts: [string, string][] = [
    [trans.__("task"), [call.task ?? "", call.row === null ? "" : rowWord(call.row)].filter(Boolean).join(" · ")],
    [trans.__("stage"), call.kind],
    [trans.__("state"), call.state.replace("_", " ")],
    [trans.__("model"), call.model ?? ""],
    [trans.__("time"), seconds(call.seconds)],
    [trans.__("cost"), dollars(call.cost_usd)],
    [trans.__("tokens in"), withPart(call.input_tokens, call.cached_tokens, trans.__("cached"))],
    [trans.__("tokens out"), withPart(call.output_tokens, call.reasoning_tokens, trans.__("reasoning"))],
    [trans.__("finish"), call.finish ?? ""],
    [trans.__("from"), call.cached ? trans.__("cache: nothing was sent") : call.batch ? trans.__("batch") : ""]
  ];
  return (
    <>
      <dl className="po-Facts">
        {facts.map(([name, value]) =>
          value ? (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ) : null
        )}
      </dl>
      {call.error && <ErrorBox failure={typeof call.error === "string" ? { code: call.error, message: call.error } : call.error} />}
      <h4>{trans.__("Answer")}</h4>
      {call.answer === null || call.answer === undefined ? <p className="po-Quiet">{trans.__("none")}</p> : <Text value={call.answer} />}
      <h4>{trans.__("Messages")}</h4>
      {call.messages && call.rendered && (
        <p className="po-Quiet">
          {call.exact ? trans.__("As sent.") : trans.__("Rendered again: what was sent may differ.")}
        </p>
      )}
      {call.messages?.map((message, index) => <Said key={index} message={message} />) ?? (
        <p className="po-Quiet">{call.why ?? trans.__("They are not recorded.")}</p>
      )}
      {call.schema !== null && call.schema !== undefined && (
        <>
          <h4>{trans.__("Schema")}</h4>
          <JsonTree value={call.schema} depth={2} />
        </>
      )}
    </>
  );
}

function Said({ message }: { message: Message }): JSX.Element {
  const parts = Array.isArray(message.content) ? message.content : [message.content];
  return (
    <div className="po-Message">
      <div className="po-Message-role">{message.role}</div>
      {parts.map((part: unknown, index) => (
        <Text key={index} value={textOf(part)} />
      ))}
      {message.tool_calls !== undefined && message.tool_calls !== null && <JsonTree value={message.tool_calls} depth={2} />}
    </div>
  );
}

/** The text of a part that is text; other parts as they are. */
function textOf(part: unknown): unknown {
  const one = part as { type?: unknown; text?: unknown } | null;
  return typeof one === "object" && one?.type === "text" && typeof one.text === "string" ? one.text : part;
}

/** Text as text, JSON in text as a tree as well as it can be read. */
function Text({ value }: { value: unknown }): JSX.Element {
  if (typeof value === "string") {
    return (
      <pre className="po-Said" tabIndex={0}>
        {value}
      </pre>
    );
  }
  return <JsonTree value={value} depth={3} />;
}

function withPart(all: number | null, part: number | null, word: string): string {
  return all === null ? "" : part ? `${count(all)} (${count(part)} ${word})` : count(all);
}
