/**
 * The template of the catalogue of all texts, for translators: `jlpm catalogue` writes translation/po_jupyter.pot.
 *
 * JupyterLab's language packs take it from there (domain `po_jupyter`).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { GettextExtractor, JsExtractors } from "gettext-extractor";

const FOLDER = dirname(fileURLToPath(import.meta.url));
export const TEMPLATE = join(FOLDER, "po_jupyter.pot");

/** The template as text. Positions are files: lines move with every change. */
export function catalogue() {
  const extractor = new GettextExtractor();
  const callers = ["trans", "this.trans", "[this].trans", "language.trans"];
  const of = name => callers.map(caller => `${caller}.${name}`);
  const comments = { otherLineLeading: false };
  extractor
    .createJsParser([
      JsExtractors.callExpression("mark", { arguments: { text: 0 }, comments }),
      JsExtractors.callExpression(of("__"), { arguments: { text: 0 }, comments }),
      JsExtractors.callExpression(of("_n"), { arguments: { text: 0, textPlural: 1 }, comments }),
      JsExtractors.callExpression(of("_p"), { arguments: { context: 0, text: 1 }, comments })
    ])
    .parseFilesGlob("src/**/!(*.test).ts*(x)", { cwd: join(FOLDER, ".."), absolute: false });
  const messages = extractor.getMessages().map(message => ({
    ...message,
    references: [...new Set(message.references.map(place => place.replace(/:\d+$/, "")))].sort()
  }));
  messages.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0));
  return HEAD + messages.map(entry).join("\n");
}

const HEAD = `msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"X-Domain: po_jupyter\\n"

`;

function entry({ text, textPlural, context, references }) {
  return [
    `#: ${references.join(" ")}`,
    ...(context ? [`msgctxt ${JSON.stringify(context)}`] : []),
    `msgid ${JSON.stringify(text)}`,
    ...(textPlural ? [`msgid_plural ${JSON.stringify(textPlural)}`, `msgstr[0] ""`, `msgstr[1] ""`] : [`msgstr ""`]),
    ""
  ].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(TEMPLATE, catalogue());
}

export const written = () => readFileSync(TEMPLATE, "utf8");
