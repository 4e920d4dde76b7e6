/** A line of what was used over time, and the budget. Loaded when it is first shown: uPlot is a chunk of its own. */

import * as React from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import * as format from "../../../format/run.js";
import type { Series, Unit } from "./series.js";

interface ChartProps {
  series: Series;
  unit: Unit;
  label: string;
  limitLabel: string;
}

const HEIGHT = 220;

export default function Chart({ series, unit, label, limitLabel }: ChartProps): JSX.Element {
  const box = React.useRef<HTMLDivElement>(null);
  const plot = React.useRef<uPlot | null>(null);
  const theme = useTheme();
  const { limit } = series;
  React.useEffect(() => {
    const element = box.current!;
    plot.current = new uPlot(optionsOf(element, unit, limit, limitLabel), dataOf(series), element);
    const observer = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [unit, limit, theme]);
  React.useEffect(() => plot.current?.setData(dataOf(series)), [series]);
  return <div ref={box} className="po-Chart" role="img" aria-label={label} />;
}

function dataOf({ times, used, limit }: Series): uPlot.AlignedData {
  return limit === null ? [times, used] : [times, used, times.map(() => limit)];
}

function optionsOf(element: HTMLElement, unit: Unit, limit: number | null, limitLabel: string): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const text = color("--jp-ui-font-color2");
  const words = (value: number | null): string => (value === null ? "" : unit === "usd" ? format.money(value) : format.compact(value));
  const axis = { stroke: text, grid: { stroke: color("--jp-border-color3"), width: 1 }, ticks: { show: false } };
  return {
    width: element.clientWidth || 600,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false },
    scales: { x: { time: true }, y: { range: (_, __, high) => [0, (high || 1) * 1.06] } },
    axes: [axis, { ...axis, size: 64, values: (_, values) => values.map(value => words(value)) }],
    series: [
      {},
      { stroke: color("--jp-brand-color1"), width: 2, fill: `color-mix(in srgb, ${color("--jp-brand-color1")} 12%, transparent)`, points: { show: false } },
      ...(limit === null ? [] : [{ label: limitLabel, stroke: color("--jp-warn-color1"), width: 1, dash: [6, 4], points: { show: false } }])
    ]
  };
}

/** Another word whenever Lab's theme is another one: a canvas does not follow CSS by itself. */
function useTheme(): string {
  const read = (): string => document.body.dataset.jpThemeName ?? "";
  const [theme, setTheme] = React.useState(read);
  React.useEffect(() => {
    // The theme's variables arrive with its stylesheet, a moment after its name.
    const observer = new MutationObserver(() => setTimeout(() => setTheme(read()), 300));
    observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name"] });
    return () => observer.disconnect();
  }, []);
  return theme;
}
