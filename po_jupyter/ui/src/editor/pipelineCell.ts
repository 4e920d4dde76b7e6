/** Whether a text is a pipeline: a cell by its first line, `%%po_pipeline NAME --run --model REF`, a file by what is in it. */

/** The lines of a text, from 1 on: CodeMirror's `Text`, or a text of one's own. */
export interface Lines {
  readonly lines: number;
  line(number: number): { readonly from: number; readonly to: number; readonly text: string };
}

/** A cell that is a pipeline. Offsets are of the cell's text; `line` is the magic's, from 1; 0 in a file, which has none. */
export interface PipelineCell {
  name: string;
  model: string | null;
  line: number;
  /** The offsets of the magic's line, without the spaces around it. */
  from: number;
  to: number;
  /** Where the YAML begins. */
  body: number;
}

const MAGIC = /^%%po_pipeline(?![\w-])\s*(.*)$/;
/** An empty first line does not keep IPython from finding the magic; more than a few are no cell that anybody wrote. */
const MOST_EMPTY = 20;

/** The pipeline that begins in the first line that is not empty; null where it is anything else. */
export function pipelineCell(text: Lines): PipelineCell | null {
  for (let number = 1; number <= Math.min(text.lines, MOST_EMPTY); number++) {
    const line = text.line(number);
    if (!line.text.trim()) {
      continue;
    }
    const match = MAGIC.exec(line.text);
    if (!match) {
      return null;
    }
    const parts = (match[1] ?? "").split(/\s+/).filter(Boolean);
    const model = valueOf("--model", parts);
    return {
      name: parts[0]?.startsWith("--") ? "" : (parts[0] ?? ""),
      model,
      line: number,
      from: line.from,
      to: line.from + line.text.trimEnd().length,
      body: Math.min(line.to + 1, text.line(text.lines).to)
    };
  }
  return null;
}

function valueOf(option: string, parts: string[]): string | null {
  const index = parts.findIndex(part => part === option || part.startsWith(`${option}=`));
  if (index < 0) {
    return null;
  }
  const value = parts[index]!.includes("=") ? parts[index]!.slice(option.length + 1) : parts[index + 1];
  return value ? value.replace(/^(["'])(.*)\1$/, "$2") : null;
}

/** What CodeMirror or Lab call YAML. */
const YAML = /\byaml\b/;
const SCHEMA = /^#\s*yaml-language-server:\s*\$schema=(\S+)/;
const OUR_SCHEMA = /po[-_]jupyter|\/po\/api\/|pipeline\.schema\.json$/;
/** The list of tasks at the top, and what only a task of ours has. */
const TASKS = /^tasks:\s*(?:#.*|\[.*)?$/;
const OUR_FIELD = /(?:^|[\s{,-])(?:prompt|source|for_each)\s*:/;
const MOST_COMMENTS = 10;
const MOST_LINES = 2000;

/** The pipeline in the text of an editor of that MIME type: a YAML file or a cell; null where it is anything else. */
export function pipelineIn(text: Lines, mimeType: string): PipelineCell | null {
  return YAML.test(mimeType) ? pipelineFile(text) : pipelineCell(text);
}

/** The pipeline that a YAML file is: its schema's comment says so, or it has a list of tasks with fields of ours. */
export function pipelineFile(text: Lines): PipelineCell | null {
  let [tasks, list] = [false, false];
  for (let number = 1; number <= Math.min(text.lines, MOST_LINES); number++) {
    const line = text.line(number).text;
    const schema = number <= MOST_COMMENTS ? SCHEMA.exec(line)?.[1] : undefined;
    if (schema) {
      return OUR_SCHEMA.test(schema) ? wholeOf(text) : null;
    }
    if (TASKS.test(line)) {
      [tasks, list] = [true, line.includes("[")];
    } else if (tasks && line.trim() && !line.trimStart().startsWith("#")) {
      list ||= /^\s*-\s/.test(line);
      tasks = list && /^[\s-]/.test(line); // a mapping, or another key, is no list of tasks
    }
    if (tasks && list && OUR_FIELD.test(line)) {
      return wholeOf(text);
    }
  }
  return null;
}

const wholeOf = (text: Lines): PipelineCell => ({ name: "", model: null, line: 0, from: 0, to: text.line(1).to, body: 0 });

/** The lines of a string. */
export function linesOf(text: string): Lines {
  const lines = text.split("\n");
  const starts: number[] = [];
  let at = 0;
  for (const line of lines) {
    starts.push(at);
    at += line.length + 1;
  }
  return {
    lines: lines.length,
    line: number => {
      const from = starts[number - 1]!;
      const text = lines[number - 1]!;
      return { from, to: from + text.length, text };
    }
  };
}
