/** The files of a run: saved by the browser, or opened in Lab's own viewers. Nothing of them is drawn here. */

import * as React from "react";
import { Button } from "../../../components/Button.js";
import { bytes } from "../../../format/money.js";
import { usePage } from "../context.js";
import { Empty, Unloaded } from "../parts.js";
import { useResource } from "../resource.js";
import { useVerbs } from "../verbs.js";

export function FilesTab(): JSX.Element {
  const { run, source, host, trans } = usePage();
  const verbs = useVerbs();
  const done = run.tasks.filter(task => task.ended_at).length;
  const { value: files, problem, again } = useResource(signal => source.artifacts(signal), run.id, `${done} ${run.state}`);
  const save = (name: string): void =>
    verbs.save(`file ${name}`, async signal => ({
      content: await source.artifact(name, signal),
      name: name.slice(name.lastIndexOf("/") + 1)
    }));
  if (problem && !files) {
    return <Unloaded failure={problem} again={again} word={trans.__("Try again")} />;
  }
  if (!files?.length) {
    return <Empty>{files ? trans.__("No files.") : trans.__("Loading…")}</Empty>;
  }
  return (
    <table className="po-Plain">
      <thead>
        <tr>
          <th scope="col">{trans.__("File")}</th>
          <th scope="col">{trans.__("From")}</th>
          <th scope="col" className="po-is-number">
            {trans.__("Size")}
          </th>
          <th scope="col">
            <span className="po-Hidden">{trans.__("Actions")}</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {files.map(file => (
          <tr key={file.name} data-file={file.name}>
            <td>
              <button type="button" className="po-Link" onClick={() => host.openFile(run.id, file.name)}>
                {file.name}
              </button>
            </td>
            <td>{file.task ?? trans.__("seed")}</td>
            <td className="po-is-number">{bytes(file.bytes)}</td>
            <td>
              <Button label={trans.__("Download")} disabled={verbs.saving.has(`file ${file.name}`)} onClick={() => save(file.name)} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
