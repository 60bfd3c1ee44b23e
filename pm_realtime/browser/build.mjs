/**
 * Builds the client: `npm run build`.
 *
 * Each entry of this folder becomes one ES module in `static/pm_realtime/`, with a source map. An
 * entry that imports another one keeps the import, so that a page has one copy of the client.
 * `--outdir=FOLDER` writes somewhere else, as the test for stale files does.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** The lowest versions that run the client. docs/client.md names them, a test compares them. */
const LOWEST_VERSIONS = ["chrome85", "firefox79", "safari14"];
const ENTRIES = ["client", "shared", "vue", "auto"];
const SOURCES = fileURLToPath(new URL(".", import.meta.url));
const STATIC = fileURLToPath(new URL("../static/pm_realtime", import.meta.url));

const { outdir } = parseArgs({ options: { outdir: { type: "string", default: STATIC } } }).values;
const installed = fileURLToPath(new URL("../../node_modules", import.meta.url));
const packages = process.env.PM_REALTIME_NODE_MODULES ?? installed;
const { build } = createRequire(join(packages, "any.js"))("esbuild");

const separateEntries = {
  name: "separate-entries",
  setup({ onResolve }) {
    onResolve({ filter: new RegExp(`/(${ENTRIES.join("|")})\\.js$`) }, ({ kind, path }) =>
      kind === "entry-point"
        ? undefined
        : { path: `./${basename(path)}`, external: true, sideEffects: false },
    );
  },
};

const { outputFiles } = await build({
  absWorkingDir: SOURCES,
  entryPoints: ENTRIES.map((name) => `./${name}.js`),
  // Source maps name their sources as seen from here, wherever the files are written to.
  outdir: STATIC,
  write: false,
  bundle: true,
  format: "esm",
  target: LOWEST_VERSIONS,
  // esbuild does not trust Safari 14 with it, because of a rare case that the sources do not have.
  supported: { destructuring: true },
  minify: true,
  sourcemap: true,
  external: ["vue"],
  plugins: [separateEntries],
  banner: { js: "// Built from pm_realtime/browser by `npm run build`." },
});

mkdirSync(outdir, { recursive: true });
for (const { path, contents } of outputFiles) {
  writeFileSync(join(resolve(outdir), basename(path)), contents);
}
