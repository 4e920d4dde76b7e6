/** All plugins. Each is tiny: what it shows is loaded when somebody first looks. */

import type { JupyterFrontEndPlugin } from "@jupyterlab/application";
import { plugins as editor } from "./editor/plugins.js";
import { plugins as lab } from "./lab/plugins.js";
import { live } from "./live/plugin.js";
import { runsPanel } from "./panel/plugin.js";
import { plugins as render } from "./render/plugins.js";
import { plugins as runPage } from "./views/run/plugins.js";

const plugins: JupyterFrontEndPlugin<unknown>[] = [live, runsPanel, ...runPage, ...render, ...editor, ...lab];

export default plugins;
