import { defineConfig } from "vitest/config";

// `jlpm test`: what needs no browser. A file that draws says `// @vitest-environment jsdom` in its first line.
export default defineConfig({
  test: {
    include: ["src/**/__tests__/**/*.test.{ts,tsx}"],
    environment: "node",
    setupFiles: ["vitest.setup.ts"],
    // Lab's packages are modules without saying so in their package.json: Node would read them as CommonJS.
    server: { deps: { inline: [/@jupyterlab/, /@jupyter\//, /@lumino/] } }
  }
});
