import { LabIcon } from "@jupyterlab/ui-components";

/** A prompt's chevron, and the runs that follow from it. `jp-icon3` follows the theme. */
const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M4 3 2.6 4.4 6.7 8.5 2.6 12.6 4 14l5.5-5.5z"/>
    <path d="M11.5 7.5H21v2h-9.5z"/>
    <circle cx="4.6" cy="18.5" r="2.6"/>
    <path d="M6.5 17.5h4v2h-4z"/>
    <circle cx="12" cy="18.5" r="2.6"/>
    <path d="M14 17.5h3.5v2H14z"/>
    <path fill-rule="evenodd" d="M19.4 15.9a2.6 2.6 0 1 1 0 5.2 2.6 2.6 0 0 1 0-5.2zm0 1.7a.9.9 0 1 0 0 1.8.9.9 0 0 0 0-1.8z"/>
  </g>
</svg>`;

export const runsIcon = new LabIcon({ name: "po-jupyter:runs", svgstr: svg });
